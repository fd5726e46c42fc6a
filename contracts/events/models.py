"""Things that can be called by name."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contracts.bounds import Code, Count, Hash, Id, Name, Number, Sentence
from contracts.events import Payload
from contracts.events.jobs import StepMetrics
from contracts.manifest import ManifestRef


class ModelRegistered(Payload):
    """A base, an adapter, a checkpoint or a model of embeddings can be called."""

    kind: Literal["base", "adapter", "full", "embedding"]
    manifest: ManifestRef
    base: ManifestRef | None = None
    """The base's manifest, for an adapter or a full fine-tune."""
    base_name: Name | None = None
    template_sha256: Hash
    context: Count
    owned_by: Name
    job: Id | None = None
    """The job that made it."""
    step: Count | None = None
    metrics: StepMetrics | None = None
    parameters: Count | None = None
    dimensions: Count | None = None
    """Of the vectors that a model of embeddings makes."""
    auto: dict[Code, Number] = Field(default_factory=dict, max_length=64)
    """The base's own recommended `learning_rate` (and other values for `auto`)."""


class ModelDeleted(Payload):
    """The name is dead."""

    reason: Sentence = ""
