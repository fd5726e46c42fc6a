"""What functions need from the world, as Protocols; infra/adapters makes them real."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from contracts.blobs import BlobRef
from contracts.controls import Checkpoint, Claim, Control
from contracts.envelope import Event
from contracts.manifest import ManifestRef
from contracts.tracking import Ending, Point, Run, Tracked, Tracker


class UnavailableError(Exception):
    """A dependency does not answer; say which and try again later."""

    def __init__(self, dependency: str, message: str = "") -> None:
        super().__init__(message or f"{dependency} does not answer")
        self.dependency = dependency


class PostponedError(UnavailableError):
    """What the work says itself: there is nothing to do before so many seconds have passed."""

    def __init__(self, dependency: str, message: str, seconds: float) -> None:
        super().__init__(dependency, message)
        self.seconds = seconds


class FaultyError(UnavailableError):
    """A dependency is there and answers wrongly, or not to the end; it may do so for ever."""


class RebuildingError(UnavailableError):
    """Read models are being rebuilt from the log; nothing is shown or claimed until they are whole."""

    def __init__(self, message: str = "the read models are being rebuilt from the log") -> None:
        super().__init__("mongo", message)


class BlobNotFoundError(Exception):
    """No blob has this key."""


class BlobExistsError(Exception):
    """An exclusive put found the key taken."""


class BlobMismatchError(Exception):
    """The bytes are not the ones that the reference names."""


class LostLeaseError(Exception):
    """Somebody else holds the lease, or the thing has ended: stop, write nothing."""


class AbandonedError(Exception):
    """What the work was for is gone: it ends, and there is nothing to say about it."""


@dataclass(frozen=True, slots=True)
class BlobStat:
    """What the store knows of a blob."""

    key: str
    bytes: int
    media_type: str


class Blobs(Protocol):
    """Bytes under keys `{tenant}/{subject}/…`."""

    async def put(
        self,
        key: str,
        data: bytes | AsyncIterator[bytes],
        media_type: str = "application/octet-stream",
        exclusive: bool = False,
    ) -> BlobRef: ...
    async def get(self, key: str) -> bytes: ...
    def stream(self, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]: ...
    async def fetch(self, ref: BlobRef, path: Path) -> None: ...
    async def store(self, key: str, path: Path, media_type: str = "application/octet-stream") -> BlobRef: ...
    async def stat(self, key: str) -> BlobStat | None: ...
    async def list(self, prefix: str) -> list[str]: ...
    async def delete(self, prefix: str) -> int: ...


class Emit(Protocol):
    """Publishing: returns when Kafka has acknowledged (acks=all)."""

    async def __call__(self, event: Event) -> Event:
        """Publish `event` and return it with `at` set to the broker's LogAppendTime."""
        ...


class Documents(Protocol):
    """Read models: views folded from events."""

    async def apply(self, event: Event, *models: str) -> None:
        """Fold `event` into every document it touches (of `models` only, if given)."""
        ...

    async def get(self, model: str, id: str) -> dict[str, Any] | None:
        """Return the view of one born document, or None."""
        ...

    async def find(
        self,
        model: str,
        where: Mapping[str, Any],
        sort: Sequence[tuple[str, int]] = (),
        limit: int = 0,
    ) -> list[dict[str, Any]]:
        """Return views by a MongoDB filter over view fields."""
        ...

    def each(self, model: str, where: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield views by a MongoDB filter over view fields, for what is too much at once."""
        ...

    async def count(self, model: str, where: Mapping[str, Any]) -> int:
        """Return how many views match a MongoDB filter."""
        ...

    async def total(self, model: str, field: str, where: Mapping[str, Any]) -> int:
        """Return the sum of a field, by its dotted path, over the views that match a MongoDB filter."""
        ...


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


class ChildFailedError(RuntimeError):
    """A child ended badly; the message is for everybody."""


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


@dataclass(frozen=True, slots=True)
class Proof:
    """What serving said of a model."""

    prompt_ids: tuple[int, ...]
    answer: str


class ProofFailedError(Exception):
    """Serving loaded the model and found it wrong."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Prove(Protocol):
    """Asks the serving process whether a stored model loads and answers on the same token ids as in training."""

    async def __call__(
        self,
        manifest: ManifestRef,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        expected_ids: Sequence[int],
    ) -> Proof:
        """Return the proof; raises ProofFailedError (the model is wrong) or UnavailableError (serving is away)."""
        ...


class Reply(Protocol):
    """An HTTP answer whose body is passed on unparsed."""

    status: int
    headers: Mapping[str, str]

    def chunks(self) -> AsyncIterator[bytes]: ...
    async def close(self) -> None: ...


class Complete(Protocol):
    """The serving process, spoken to in OpenAI's own shapes."""

    async def __call__(self, path: str, body: bytes, manifest: ManifestRef, request_id: str, tenant: str) -> Reply:
        """POST `body` to serving, where tenants take turns; raises UnavailableError."""
        ...


class WakeUp(Protocol):
    """Wakes whoever waits for work of a stage; a lost one only costs a moment."""

    def __call__(self, stage: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Reservation:
    """An object id that was set aside for one POST before anything is published."""

    id: str
    """Of the object: the caller's new one, or the one that an earlier attempt reserved."""
    state: Literal["new", "adopted", "mismatch"]
    """`mismatch`: the Idempotency-Key was used with another body; `id` is that request's."""


class Requests(Protocol):
    """Control documents that make POST safe to retry; they are written before anything is published."""

    async def reserve(
        self, tenant: str, route: str, key: str | None, body_sha256: str, retry: bool, new_id: str
    ) -> Reservation:
        """Set `new_id` aside, or adopt what an earlier attempt set aside; raises UnavailableError.

        `key` is the Idempotency-Key: the same one on the same tenant's route adopts, whatever became of the first
        reply. Without a key only a marked `retry` adopts: the newest reservation with the same tenant, route and body
        whose reply was not completed.
        """
        ...

    async def complete(self, reservation: Reservation) -> None:
        """Say that the reply for this object went out, so that no later request without a key adopts it."""
        ...


class BusyError(UnavailableError):
    """A dependency asks to be left alone for a while."""

    def __init__(self, dependency: str, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(dependency, message)
        self.retry_after = retry_after
        """Seconds, where it named some."""


class RefusedError(Exception):
    """A dependency understood the request and will not do it; asking the same again is of no use."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        """Of HTTP, 300 to 499."""


class Secrets(Protocol):
    """Tenants' keys for other services, by name; all of these raise UnavailableError."""

    async def put(self, tenant: str, name: str, value: str) -> None:
        """Keep a secret, in the place of an older one."""
        ...

    async def get(self, tenant: str, name: str) -> str | None:
        """Return a secret, None where there is none."""
        ...

    async def drop(self, tenant: str, name: str) -> None:
        """Forget a secret."""
        ...


class Track(Protocol):
    """A tracker, where people compare runs. Every call may be repeated; all of them raise UnavailableError."""

    @property
    def name(self) -> Tracker:
        """Which one."""
        ...

    async def run(self, run: Run) -> Tracked:
        """Return the run with this key, which is begun where there is none."""
        ...

    async def log(self, run: str, points: Sequence[Point]) -> None:
        """Add points to a run's metrics."""
        ...

    async def keep(self, run: str, files: Mapping[str, bytes]) -> None:
        """Put artefacts beside a run, by their paths."""
        ...

    async def erase(self, run: Run, files: Sequence[str] = ()) -> None:
        """Delete a run's artefacts of these paths, or all of them; a run that is not there has none."""
        ...

    async def register(self, run: str, base: str, model: str, key: str) -> None:
        """List a tuned model under its base; `key` is its manifest's."""
        ...

    async def end(self, run: str, ending: Ending, at: int) -> None:
        """Close a run; `at` is in ms since the epoch."""
        ...


class Generate(Protocol):
    """A model behind an OpenAI-compatible endpoint, asked for one whole chat completion at a time."""

    @property
    def model(self) -> str:
        """The name that requests carry."""
        ...

    def another(self, model: str) -> Generate:
        """Return another model at the same endpoint, asked over the same connections."""
        ...

    async def __call__(self, body: Mapping[str, Any]) -> str:
        """POST a chat request and return the text of its first choice.

        Raises UnavailableError (nobody there, 503), FaultyError (no answer in time, another 5xx, an answer of another
        shape), BusyError (429) or RefusedError.
        """
        ...


class Endpoints(Protocol):
    """Chat endpoints of other systems."""

    def __call__(self, base_url: str, model: str, api_key: str = "", seconds: float = 120.0) -> Generate:
        """Return a model at `base_url` (`…/v1`); a whole answer may take `seconds`."""
        ...


class Served(Protocol):
    """Models as the platform's own serving process has them."""

    def __call__(self, name: str, manifest: ManifestRef) -> Generate:
        """Return the model of that manifest."""
        ...


class BaseModels(Protocol):
    """Registered models and their files on this machine."""

    async def manifest(self, name: str) -> ManifestRef:
        """Return where a base model's manifest is; raises UnavailableError until it is registered."""
        ...

    def tokenizer(self, name: str) -> AbstractAsyncContextManager[Path]:
        """Lend the tokenizer.json of a base model; raises UnavailableError until it is registered."""
        ...

    def folders(self, ref: ManifestRef) -> AbstractAsyncContextManager[Mapping[str, str | None]]:
        """Lend a model's folders: `model`, its base or whole weights, and `adapter`, if it has one."""
        ...
