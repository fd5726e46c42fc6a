"""Control documents as they are read: the state of one running thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.manifest import ManifestRef

LEASE_SECONDS = 30.0
HEARTBEAT_SECONDS = 5.0
GIVE_UP_SECONDS = 20.0
"""A holder that could not renew for this long kills what it runs."""
MAX_ATTEMPTS = 5
"""Claims without a new step before the thing fails."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that is visible to the next attempt."""

    step: int
    manifest: ManifestRef
    epoch_end: bool
    fence: int
    """The attempt that made it."""


@dataclass(frozen=True, slots=True)
class Control:
    """One control document, read."""

    kind: str
    """`validate`, `prepare` or `train`."""
    subject: str
    tenant: str
    epoch: int
    desired: str
    """`run` or `pause`."""
    fence: int
    attempts: int
    """Claims since the last new step."""
    holder: str | None
    live: bool
    """Whether somebody holds an unexpired lease."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    recorded: Mapping[str, Any] = field(default_factory=dict)
    checkpoints: tuple[Checkpoint, ...] = ()
    outcome: tuple[Mapping[str, Any], ...] | None = None
    """The final events as stored (see infra), in order."""
    published: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease that was taken."""

    control: Control
    fence: int
    nonce: str

    @property
    def subject(self) -> str:
        """The thing that is held."""
        return self.control.subject
