"""Things that can be called by name."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contracts.events import Payload
from contracts.events.jobs import StepMetrics
from contracts.manifest import ManifestRef


class ModelRegistered(Payload):
    """A base, an adapter or a checkpoint can be called."""

    kind: Literal["base", "adapter", "full"]
    manifest: ManifestRef
    base: ManifestRef | None = None
    """The base's manifest, for an adapter or a full fine-tune."""
    base_name: str | None = None
    template_sha256: str
    context: int
    owned_by: str
    job: str | None = None
    """The job that made it."""
    step: int | None = None
    metrics: StepMetrics | None = None
    parameters: int | None = None
    auto: dict[str, float] = Field(default_factory=dict)
    """The base's own recommended `learning_rate` (and other values for `auto`)."""


class ModelDeleted(Payload):
    """The name is dead."""

    reason: str = ""
