"""Where things are kept and said: blobs, events, read models, requests, secrets, trackers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from contracts.blobs import BlobRef
from contracts.envelope import Event
from contracts.tracking import Ending, Point, Run, Tracked, Tracker


@dataclass(frozen=True, slots=True)
class BlobStat:
    """What the store knows of a blob."""

    key: str
    bytes: int
    media_type: str
    modified: int = field(default=0, compare=False)
    """When it was written, in milliseconds."""


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
    async def join(self, key: str, sources: Sequence[BlobStat]) -> None:
        """Store under `key` what these blobs hold, one behind the other; the store copies large ones by itself.

        Raises BlobNotFoundError.
        """
        ...

    async def stat(self, key: str) -> BlobStat | None: ...
    async def list(self, prefix: str) -> list[str]: ...
    def walk(self, prefix: str) -> AsyncIterator[BlobStat]: ...
    async def folders(self, prefix: str) -> Sequence[str]: ...
    async def delete(self, prefix: str) -> int: ...
    async def remove(self, keys: Sequence[str]) -> None: ...


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

    async def reserved(self, id: str) -> bool:
        """Return whether an object id is set aside: a retry may still adopt it and the bytes under it."""
        ...

    async def complete(self, reservation: Reservation) -> None:
        """Say that the reply for this object went out, so that no later request without a key adopts it."""
        ...


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
