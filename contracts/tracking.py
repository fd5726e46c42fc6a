"""What is kept of a job where people compare runs: experiments, runs, metrics, artefacts; for any tracker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

RunKind = Literal["training", "benchmark"]
Tracker = Literal["mlflow", "wandb"]
Ending = Literal["finished", "failed", "killed"]


WANDB = "wandb"
"""Name of a tenant's own key for Weights & Biases."""


def wandb_secret(job: str) -> str:
    """Return the name of the key that came with a job, which is forgotten when the job is told of."""
    return f"{WANDB}/{job}"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of an experiment; the key finds it again, whoever asks."""

    experiment: str
    key: str
    """The same for the same run, unique within a tracker."""
    kind: RunKind
    name: str
    started_at: int
    """ms since the epoch."""
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric; the same point logged twice is one point."""

    name: str
    value: float
    step: int
    at: int
    """ms since the epoch."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """A run as its tracker knows it."""

    id: str
    url: str
