"""The events of a response in the background, kept while they come: whoever reads them, now or later, reads the same.

They lie in segments below `{tenant}/{id}/events/`, each under the number of its first event and put exclusively, so
that nobody adds what does not follow on what is there. An empty one says that there will be no more. When the answer
is stored, one blob holds all of them, which counts from then on.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress

from contracts.ports import BlobExistsError, BlobNotFoundError, Blobs
from functions._shared.server_sent import split

FIRST = 2
"""The number of the first that is kept: a request itself says that it was created and is queued."""
_TYPE = "text/event-stream"


class Segments:
    """One response's; events are as they are sent."""

    def __init__(self, blobs: Blobs, tenant: str, id: str) -> None:
        self._blobs = blobs
        self._prefix = f"{tenant}/{id}/events/"
        self._whole = f"{tenant}/{id}/events.z"

    async def at(self, number: int) -> list[bytes] | None:
        """Return the segment that begins with event `number`, None where there is none yet."""
        try:
            return split(await self._blobs.get(self._key(number)))
        except BlobNotFoundError:
            return None

    async def add(self, number: int, events: list[bytes]) -> bool:
        """Put a segment that begins with event `number`, unless there is one; returns whether this one is there."""
        try:
            await self._blobs.put(self._key(number), b"".join(events), _TYPE, exclusive=True)
        except BlobExistsError:
            return False
        return True

    async def before(self, number: int) -> int:
        """Return with which event the segment begins in which event `number` is or will be."""
        return max((start for start in await self._starts() if start <= number), default=FIRST)

    async def kept(self) -> tuple[list[bytes], bool]:
        """Return all events, and whether there will be no more."""
        found = await asyncio.gather(*map(self.at, await self._starts()))
        return [event for segment in found for event in segment or ()], bool(found) and found[-1] == []

    async def join(self) -> int:
        """Put one blob in the place of segments that are complete, as often as one likes; return how large it is."""
        keys = await self._blobs.list(self._prefix)
        if keys and not await self.is_whole():
            events, _ = await self.kept()
            body = await asyncio.to_thread(zlib.compress, b"".join(events))
            with suppress(BlobExistsError):  # another attempt was faster, and may have removed what is missing here
                await self._blobs.put(self._whole, body, exclusive=True)
        if keys:
            await self._blobs.remove(keys)
        stat = await self._blobs.stat(self._whole)
        return 0 if stat is None else stat.bytes

    async def is_whole(self) -> bool:
        """Return whether one blob holds all of them."""
        return await self._blobs.stat(self._whole) is not None

    async def whole(self) -> AsyncIterator[list[bytes]]:
        """Yield all events of the one blob, many at a time; raises BlobNotFoundError."""
        unpacking, held = zlib.decompressobj(), b""
        async for chunk in self._blobs.stream(self._whole):
            complete, end, held = (held + unpacking.decompress(chunk)).rpartition(b"\n\n")
            yield split(complete + end)

    async def _starts(self) -> list[int]:
        return sorted(int(key.removeprefix(self._prefix)) for key in await self._blobs.list(self._prefix))

    def _key(self, number: int) -> str:
        return f"{self._prefix}{number:08d}"
