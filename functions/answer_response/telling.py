"""The events of one attempt at a response that is streamed, kept behind those of the attempts before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

from contracts.ports import UnavailableError
from functions._shared.responding import Chunk, Event
from functions._shared.segments import FIRST, Segments
from functions._shared.server_sent import read_back, written
from functions.answer_response import core

FIRST_MS, SEGMENT_MS = 50, 500
"""After which what was said is kept, at first and in the end: as long as a reader waits for it."""
SEGMENT_BYTES = 64 * 2**10


class Silent:
    """Nobody listens."""

    def parts(self, chunk: Chunk) -> Iterator[Chunk]:
        """Yield the chunk as it is."""
        yield chunk

    async def tell(self, events: Iterable[Event]) -> None:
        """Make the events and forget them."""
        for _ in events:
            pass

    async def end(self, events: Iterable[Event]) -> None:
        """Make the last ones and forget them."""
        await self.tell(events)


class Telling(Silent):
    """Keeps events in segments; what is kept already has to be said again, and is not kept twice.

    All of it raises DiffersError where the answer is another one than was shown, UnavailableError where another attempt
    tells at the same time, and what `check` raises: it is awaited after each segment.
    """

    def __init__(
        self,
        segments: Segments,
        kept: tuple[list[bytes], bool],
        id: str,
        now: Callable[[], int],
        check: Callable[[], Awaitable[Any]],
    ) -> None:
        before, self._closed = kept
        self._segments, self._now, self._check = segments, now, check
        self._before = deque(map(read_back, before))
        self._recut = core.Recut(id, self._before)
        self._next = FIRST + len(before)
        self._fresh: list[bytes] = []
        self._begun_at = self._kept_at = 0

    def parts(self, chunk: Chunk) -> Iterator[Chunk]:
        """Yield a chunk in the pieces in which the attempts before this one told it."""
        return self._recut(chunk)

    async def tell(self, events: Iterable[Event]) -> None:
        """Keep events, some of them together."""
        for event in events:
            self._take(event)
        now = self._now()
        self._begun_at = self._begun_at or now
        wait = min(SEGMENT_MS, max(FIRST_MS, (now - self._begun_at) // 4))
        if self._fresh and (now - self._kept_at >= wait or sum(map(len, self._fresh)) >= SEGMENT_BYTES):
            self._kept_at = now
            await self._keep()

    async def end(self, events: Iterable[Event]) -> None:
        """Keep the last ones but for the very last, which the ending says, and let nobody add to them."""
        for event in events:
            self._take(event)
        if self._fresh:
            await self._keep()
        if not self._closed:
            await self._keep()

    def _take(self, event: Mapping[str, Any]) -> None:
        if event["sequence_number"] < FIRST:
            return
        told = written(event)
        if self._before:
            core.check_same(self._before.popleft(), read_back(told))
        elif self._closed:
            raise core.DiffersError
        else:
            self._fresh.append(told)

    async def _keep(self) -> None:
        events, self._fresh = self._fresh, []
        mine = await self._segments.add(self._next, events)
        await self._check()
        if not mine and await self._segments.at(self._next) != events:  # a put that was tried twice finds itself there
            raise UnavailableError("serving", "another attempt tells the same answer")
        self._next += len(events)
