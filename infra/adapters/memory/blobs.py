"""Blobs in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.blobs import BlobRef
from contracts.canonical import sha256
from contracts.ports import BlobExistsError, BlobMismatchError, BlobNotFoundError, BlobStat
from infra.adapters.blob_keys import checked


@dataclass(frozen=True, slots=True)
class _Blob:
    data: bytes
    media_type: str
    modified: int


class MemoryBlobs:
    """The `Blobs` port in a dictionary; `now` is a clock in milliseconds."""

    def __init__(self, now: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._blobs: dict[str, _Blob] = {}
        self._now = now

    async def put(
        self,
        key: str,
        data: bytes | AsyncIterator[bytes],
        media_type: str = "application/octet-stream",
        exclusive: bool = False,
    ) -> BlobRef:
        """Store bytes under `key`; raises BlobExistsError when `exclusive` and the key is taken."""
        checked(key)
        content = data if isinstance(data, bytes) else b"".join([chunk async for chunk in data])
        if exclusive and key in self._blobs:
            raise BlobExistsError(key)
        self._blobs[key] = _Blob(content, media_type, self._now())
        return BlobRef(key=key, sha256=sha256(content), bytes=len(content), media_type=media_type)

    async def get(self, key: str) -> bytes:
        """Return all bytes; raises BlobNotFoundError."""
        return self._blob(key).data

    async def stream(self, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `offset`, `length` of them at most; raises BlobNotFoundError."""
        data = self._blob(key).data[offset:]
        data = data if length is None else data[:length]
        if data:
            yield data

    async def fetch(self, ref: BlobRef, path: Path) -> None:
        """Write the bytes to `path`; raises BlobNotFoundError or BlobMismatchError."""
        data = self._blob(ref.key).data
        if sha256(data) != ref.sha256:
            raise BlobMismatchError(f"{ref.key} is not the content that its reference names")
        path.write_bytes(data)  # in a thread it would go on after a cancellation

    async def store(self, key: str, path: Path, media_type: str = "application/octet-stream") -> BlobRef:
        """Store a file's bytes."""
        return await self.put(key, await asyncio.to_thread(path.read_bytes), media_type)

    async def join(self, key: str, sources: Sequence[BlobStat]) -> None:
        """Store under `key` what these blobs hold, one behind the other; raises BlobNotFoundError."""
        await self.put(key, b"".join([self._blob(each.key).data for each in sources]))

    async def stat(self, key: str) -> BlobStat | None:
        """Return what is known of a blob, or None."""
        blob = self._blobs.get(checked(key))
        return BlobStat(key, len(blob.data), blob.media_type, blob.modified) if blob else None

    async def list(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`, sorted."""
        return sorted(key for key in self._blobs if key.startswith(prefix))

    async def walk(self, prefix: str) -> AsyncIterator[BlobStat]:
        """Yield what is known of each blob whose key begins with `prefix`, in the order of keys."""
        for key in await self.list(prefix):
            if (stat := await self.stat(key)) is not None:
                yield stat

    async def folders(self, prefix: str) -> Sequence[str]:
        """Return the names that follow `prefix`, up to the next slash, sorted."""
        below = (key.removeprefix(prefix) for key in self._blobs if key.startswith(prefix))
        return sorted({name.partition("/")[0] for name in below if "/" in name})

    async def delete(self, prefix: str) -> int:
        """Delete every blob whose key begins with `prefix`, `{tenant}/{subject}` at least; return how many."""
        checked(prefix.removesuffix("/"))
        doomed = await self.list(prefix)
        for key in doomed:
            del self._blobs[key]
        return len(doomed)

    async def remove(self, keys: Sequence[str]) -> None:
        """Delete the blobs of these keys; one that is not there is none."""
        for key in keys:
            self._blobs.pop(checked(key), None)

    def _blob(self, key: str) -> _Blob:
        try:
            return self._blobs[checked(key)]
        except KeyError:
            raise BlobNotFoundError(key) from None
