"""Control documents as they are read: the state of one running thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import TypedDict

from contracts.envelope import Event
from contracts.manifest import ManifestRef

LEASE_SECONDS = 30.0
HEARTBEAT_SECONDS = 5.0
GIVE_UP_SECONDS = 20.0
"""A holder that could not renew for this long kills what it runs."""
KEPT_CHECKPOINTS = 8
"""The newest at epochs' ends and the newest of the others: as many as a run may find unreadable, or keep."""
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

    subject: str
    tenant: str
    stage: str
    """What is to be done next: `validate` (a file), `prepare` or `train` (a job)."""
    ready: bool
    """Whether the stage has all that it needs."""
    epoch: int
    """Opened by each pause or resume; starts at 1."""
    desired: str
    """`run` or `pause`."""
    fence: int
    attempts: int
    """Claims since the last new step."""
    holder: str | None
    live: bool
    """Whether somebody holds an unexpired lease."""
    opened_at: int
    """Milliseconds."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    recorded: Mapping[str, Any] = field(default_factory=dict)
    checkpoints: tuple[Checkpoint, ...] = ()
    ended: bool = False
    events: tuple[Event, ...] = ()
    """Recorded events (of stage changes and of the ending) in order."""
    published: int = 0
    """How many of them are known to be in Kafka."""
    waits: int = 0
    """Claims in a row that were given back because a dependency did not answer."""
    why: str = ""
    """What the last one who gave it back said of that."""


class Reason(TypedDict):
    """Why something waits, failed or is refused: a word for machines and a sentence that says what to do."""

    code: str
    message: str


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


EXAMPLES = "/examples"
"""What the control document of a document's questions has after the document's own id."""
TROUBLE = "trouble_"
"""What is recorded under a name that begins so is said while the work goes on: an object with `code` and `message`."""


def troubles(control: Control | None) -> list[dict[str, str]]:
    """Return what the work on a thing has met and gone on from, as it recorded it; an ended thing says it itself."""
    if control is None or control.ended:
        return []
    return [dict(value) for name, value in sorted(control.recorded.items()) if name.startswith(TROUBLE)]


def unheld(control: Control | None) -> Reason | None:
    """Return what nobody says of a thing that was begun: its process is gone, or it waits; None where it is in hand.

    It is found when somebody looks, for a lease runs out by itself.
    """
    if control is None or control.ended or control.live or control.desired != "run" or not control.fence:
        return None
    if control.waits:
        text = "It waits for a part of the platform that does not answer, and goes on by itself."
        return {"code": "waiting_for_dependency", "message": text}
    role = "trainer" if control.stage == "train" else "worker"
    text = f"No {role} is at it at the moment; the next one that is free goes on where it was."
    return {"code": f"waiting_for_{role}", "message": text}
