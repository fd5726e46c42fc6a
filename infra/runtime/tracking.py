"""The functions that track runs, put together: their subscriptions, where there is a tracker."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from contracts.ports import Child
from functions.track_runs import core, handler
from infra.adapters.kafka import Subscription
from infra.runtime.world import World
from infra.settings import Settings

SECONDS = 240.0
"""For one event: a report with its pictures may go over a slow line."""


def wandb_mode(settings: Settings) -> Literal["online", "offline"] | None:
    """Return how Weights & Biases is told of jobs; None: its client is not installed."""
    return settings.wandb if find_spec("wandb") else None


def subscriptions(here: World, child: Child, scratch: Path, settings: Settings) -> tuple[Subscription, ...]:
    """Return who reacts to what; where there is no tracker, its events wait in the log."""
    found = []
    if settings.tracking == "mlflow" and settings.mlflow_url:
        from infra.adapters.mlflow.runs import MlflowTrack  # its client is a hundred megabytes

        track = MlflowTrack(settings.mlflow_url, settings.s3_bucket)
        react = partial(handler.on_event, deps=handler.Deps(here.documents, here.blobs, here.emit, track))
        found.append(Subscription("track_runs", core.TOPICS, react, deadline=SECONDS, optional=True))
    mode = wandb_mode(settings)
    if mode is not None:
        folder = settings.home.absolute() / "wandb"
        folder.mkdir(parents=True, exist_ok=True)
        where = {"mode": mode, "folder": str(folder)}
        deps = handler.WandbDeps(here.documents, here.secrets, here.emit, child, scratch, where)
        tell = partial(handler.on_wandb, deps=deps)
        found.append(Subscription("track_wandb", (*core.ENDINGS,), tell, deadline=SECONDS, optional=True))
    return tuple(found)
