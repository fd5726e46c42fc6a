"""Long work: control documents, leases, children."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from contracts.controls import Checkpoint, Claim, Control
from contracts.envelope import Event
from contracts.ports.errors import ChildFailedError


class Controls(Protocol):
    """Control documents, one per running thing (a file being validated, a job): leases, desires, outcomes.

    Every write is a compare-and-set; the document's id is the subject.
    """

    async def open(
        self, subject: str, tenant: str, stage: str, inputs: Mapping[str, Any], ready: bool = True
    ) -> Control:
        """Create the document unless it exists; an unready one of the same stage becomes ready with these inputs.

        Raises PoisonError for another tenant's.
        """
        ...

    async def get(self, subject: str) -> Control | None:
        """Return one document, or None."""
        ...

    async def claimable(self) -> set[str]:
        """Return the stages in which there is something to claim."""
        ...

    async def claim(self, stage: str, holder: str, per_tenant: int | None = None) -> Claim | None:
        """Take the lease of one claimable thing in `stage`: fence + 1, new nonce, 30 s to live.

        It is the oldest of a tenant that holds fewest of the stage; one that holds `per_tenant` of this holder's
        gets no more.
        """
        ...

    async def heartbeat(self, claim: Claim) -> Control:
        """Renew the lease and return the document; raises LostLeaseError (also when there is an outcome)."""
        ...

    async def release(self, claim: Claim, retry_after: float = 0, forgive: bool = False, why: str = "") -> None:
        """Give the lease back; nobody claims it for `retry_after` seconds.

        `forgive` does not count the attempt; with a `why` it is counted among `waits`.
        """
        ...

    async def record(self, claim: Claim, name: str, value: Any) -> Any:
        """Record an input once and return what is recorded: the first value wins; raises LostLeaseError."""
        ...

    async def checkpoint(self, claim: Claim, checkpoint: Checkpoint) -> None:
        """Make a checkpoint visible: only with the lease, only forward, the same one again; raises LostLeaseError."""
        ...

    async def drop_checkpoint(self, claim: Claim, step: int) -> None:
        """Forget a checkpoint that turned out to be unreadable; raises LostLeaseError."""
        ...

    async def advance(self, claim: Claim, stage: str, inputs: Mapping[str, Any], events: Sequence[Event]) -> None:
        """Move to the next stage, recording the events that say so; gives the lease back; raises LostLeaseError.

        Where these events are recorded already, nothing happens.
        """
        ...

    async def desire(self, subject: str, desired: str, request: str) -> Control | None:
        """Open a new epoch with this desire, once per request id; None when nothing is there or it has ended."""
        ...

    async def end(self, subject: str, events: Sequence[Event], claim: Claim | None = None) -> Control:
        """Record the final events unless an outcome is there; return the document with whichever outcome won."""
        ...

    async def published(self, subject: str, count: int) -> None:
        """Say that the first `count` recorded events are in Kafka."""
        ...


class Lease(Protocol):
    """A lease as long work sees it; somebody else keeps it alive."""

    claim: Claim
    control: Control
    """As of the last heartbeat."""

    async def record(self, name: str, value: Any) -> Any:
        """Record an input once and return what is recorded."""
        ...

    async def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Make a checkpoint visible to the next attempt."""
        ...

    async def drop_checkpoint(self, step: int) -> None:
        """Forget a checkpoint whose bytes are not what its manifest says."""
        ...

    async def refresh(self) -> Control:
        """Renew the lease now and return the document, with what this attempt added."""
        ...

    async def changed(self) -> Control:
        """Wait until the epoch or the desire differs from the claim's, or this process is told to end."""
        ...


@dataclass(frozen=True, slots=True)
class ChildResult:
    """How a short-lived child ended."""

    code: int
    """Exit status; negative: the signal that ended it."""
    stdout: bytes
    stderr: str
    """The last kilobytes."""

    def failed(self, doing: str) -> ChildFailedError:
        """Return what to raise where it ended badly; its words may quote content and paths: only the log has them."""
        error = ChildFailedError(f"{doing} ended with status {self.code}")
        error.add_note(self.stderr[-2000:])
        return error


class Child(Protocol):
    """Python modules run in processes of their own, with limits and an empty environment."""

    async def run(self, module: str, argument: Path, memory_bytes: int = 0, seconds: float = 0) -> ChildResult:
        """Run `python -m module argument` to its end."""
        ...

    def start(self, module: str, argument: Path) -> Running:
        """Start `python -m module argument`, speaking JSON lines."""
        ...


class Running(Protocol):
    """A child that is at work."""

    def lines(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the JSON objects that it prints."""
        ...

    async def say(self, line: str) -> None:
        """Write a line to its standard input."""
        ...

    async def stop(self) -> int:
        """Kill it, reap it and return its exit status."""
        ...

    def stderr(self) -> str:
        """Return the last kilobytes that it wrote to standard error."""
        ...


class WakeUp(Protocol):
    """Wakes whoever waits for work of a stage; a lost one only costs a moment."""

    def __call__(self, stage: str) -> None: ...
