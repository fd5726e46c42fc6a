"""Blobs for work on files and on benchmarks of them: what is written after the file was deleted goes again at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.blobs import BlobRef
from contracts.events.benchmarks import FILE_DELETED, JOB_DELETED
from contracts.ports import AbandonedError, BlobNotFoundError, Blobs, BlobStat, Documents


@dataclass(frozen=True, slots=True)
class ErasingBlobs:
    """The `Blobs` port; a write looks afterwards whether its file lives, and erases all of it where it does not.

    A deletion says so before it erases. Whatever the order, one of the two sees what the other one did.
    """

    blobs: Blobs
    documents: Documents

    async def put(
        self,
        key: str,
        data: bytes | AsyncIterator[bytes],
        media_type: str = "application/octet-stream",
        exclusive: bool = False,
    ) -> BlobRef:
        """Store bytes under `key`; raises AbandonedError when the file was deleted."""
        ref = await self.blobs.put(key, data, media_type, exclusive)
        await self._check(key)
        return ref

    async def store(self, key: str, path: Path, media_type: str = "application/octet-stream") -> BlobRef:
        """Store a file's bytes; raises AbandonedError when the file that they belong to was deleted."""
        ref = await self.blobs.store(key, path, media_type)
        await self._check(key)
        return ref

    async def join(self, key: str, sources: Sequence[BlobStat]) -> None:
        """Store under `key` what these blobs hold; raises as `store` and `get` do."""
        await self.blobs.join(key, sources)
        await self._check(key)

    async def _check(self, key: str) -> None:
        tenant, subject, _ = key.split("/", 2)
        if await self._deleted(key):
            await self.blobs.delete(f"{tenant}/{subject}/")
            raise _abandoned(key)

    async def _deleted(self, key: str) -> bool:
        tenant, subject, _ = key.split("/", 2)
        if (file := await self.documents.get("files", subject)) is not None:
            return bool(file["deleted"]) and file["tenant"] == tenant
        benchmark = await self.documents.get("benchmarks", subject)
        failed = benchmark["failed"] if benchmark is not None and benchmark["tenant"] == tenant else None
        return failed is not None and failed["code"] in (FILE_DELETED, JOB_DELETED)

    async def get(self, key: str) -> bytes:
        """Return all bytes; raises BlobNotFoundError, or AbandonedError when the file was deleted."""
        async with self._missed(key):
            return await self.blobs.get(key)

    async def stream(self, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `offset`, `length` of them at most; raises as `get` does."""
        async with self._missed(key):
            async for chunk in self.blobs.stream(key, offset, length):
                yield chunk

    async def fetch(self, ref: BlobRef, path: Path) -> None:
        """Write the bytes to `path`; raises as `get` does, or BlobMismatchError."""
        async with self._missed(ref.key):
            await self.blobs.fetch(ref, path)

    @asynccontextmanager
    async def _missed(self, key: str) -> AsyncIterator[None]:
        try:
            yield
        except BlobNotFoundError:
            if await self._deleted(key):
                raise _abandoned(key) from None
            raise

    async def stat(self, key: str) -> BlobStat | None:
        """Return what is known of a blob, or None."""
        return await self.blobs.stat(key)

    async def list(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`, sorted."""
        return await self.blobs.list(prefix)

    def walk(self, prefix: str) -> AsyncIterator[BlobStat]:
        """Yield what is known of each blob whose key begins with `prefix`."""
        return self.blobs.walk(prefix)

    async def folders(self, prefix: str) -> Sequence[str]:
        """Return the names that follow `prefix`, up to the next slash."""
        return await self.blobs.folders(prefix)

    async def delete(self, prefix: str) -> int:
        """Delete every blob whose key begins with `prefix`; return how many."""
        return await self.blobs.delete(prefix)

    async def remove(self, keys: Sequence[str]) -> None:
        """Delete the blobs of these keys."""
        await self.blobs.remove(keys)


def _abandoned(key: str) -> AbandonedError:
    return AbandonedError(f"{key.split('/', 2)[1]} was deleted; nothing more is made of it")
