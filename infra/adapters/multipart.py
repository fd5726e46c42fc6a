"""One upload of unknown length: small content in one request, more in parts, and nothing left when it fails."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Protocol

from minio import Minio
from minio.datatypes import Part
from minio.error import ServerError

PART_BYTES = 8 * 2**20
_SMALL_BYTES = 2**16
"""Up to this, content takes as much memory as it has bytes; beyond, a whole part."""
_IN_FLIGHT = 3

log = logging.getLogger(__name__)


class Run(Protocol):
    """Calls a blocking function in a thread and translates its errors."""

    def __call__(self, call: Any, *args: Any, **kwargs: Any) -> Awaitable[Any]: ...


class Upload:
    """One object on its way; minio-py's own streaming needs a blocking reader and takes no condition."""

    def __init__(self, client: Minio, bucket: str, key: str, media_type: str, exclusive: bool, run: Run) -> None:
        self._client = client
        self._where = (bucket, key)
        self._media_type = media_type
        self._condition = {"If-None-Match": "*"} if exclusive else {}
        self._run = run
        self._sent: list[bytearray] = []
        self._digest = hashlib.sha256()
        self._size = 0

    async def send(self, chunks: AsyncIterator[bytes]) -> tuple[str, int]:
        """Upload everything; return its sha256 and length in bytes."""
        parts = regrouped(chunks, self._sent)
        first = await anext(parts, bytearray())
        await self._count(first)
        if len(first) < PART_BYTES:
            headers = {"Content-Type": self._media_type, **self._condition}
            await self._run(self._client._put_object, *self._where, first, headers)  # noqa: SLF001
        else:
            await self._multipart(first, parts)
        return self._digest.hexdigest(), self._size

    async def _multipart(self, first: bytearray, rest: AsyncIterator[bytearray]) -> None:
        headers = {"Content-Type": self._media_type}
        upload: str = await self._run(self._client._create_multipart_upload, *self._where, headers)  # noqa: SLF001
        try:
            etags = await self._send_parts(upload, first, rest)
            await self._run(_complete, self._client, *self._where, upload, etags, self._condition)
        except BaseException:
            await self._abort(upload)
            raise

    async def _send_parts(self, upload: str, first: bytearray, rest: AsyncIterator[bytearray]) -> list[Part]:
        free = asyncio.Semaphore(_IN_FLIGHT)
        done: dict[int, str] = {}

        async def send(number: int, data: bytearray) -> None:
            try:
                done[number] = await self._run(
                    self._client._upload_part,  # noqa: SLF001
                    *self._where,
                    data,
                    None,
                    upload,
                    number,
                )
                self._sent.append(data)
            finally:
                free.release()

        number = 1
        try:
            async with asyncio.TaskGroup() as group:
                await free.acquire()
                group.create_task(send(number, first))
                async for data in rest:
                    await self._count(data)
                    await free.acquire()
                    number += 1
                    group.create_task(send(number, data))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [Part(number, done[number]) for number in sorted(done)]

    async def _count(self, data: bytearray) -> None:
        self._size += len(data)
        await asyncio.to_thread(self._digest.update, data)

    async def _abort(self, upload: str) -> None:
        """Tell the server to forget the parts; a second cancellation does not stop that."""
        forget = asyncio.ensure_future(
            self._run(self._client._abort_multipart_upload, *self._where, upload)  # noqa: SLF001
        )
        try:
            await asyncio.shield(forget)
        except asyncio.CancelledError:
            await asyncio.wait([forget])
        except Exception as error:  # noqa: BLE001  the cause of the abort is what the caller must see
            log.warning("minio: the parts of %s stay until the server sweeps them: %s", self._where[1], error)


async def regrouped(chunks: AsyncIterator[bytes], sent: list[bytearray]) -> AsyncIterator[bytearray]:
    """Yield `chunks` regrouped to parts of exactly PART_BYTES, but for the last; parts in `sent` are filled again.

    Memory is that of the parts in flight: new ones, or ones that grow bit by bit, would leave holes in it.
    """
    part, filled = bytearray(), 0
    async for chunk in chunks:
        view = memoryview(chunk)
        while view:
            taken = view[: PART_BYTES - filled]
            if filled + len(taken) > _SMALL_BYTES and len(part) < PART_BYTES:
                small, part = part, sent.pop() if sent else bytearray(PART_BYTES)
                part[:filled] = small
            part[filled : filled + len(taken)] = taken
            filled += len(taken)
            view = view[len(taken) :]
            if filled == PART_BYTES:
                yield part
                part, filled = bytearray(), 0
    if filled:
        del part[filled:]
        yield part


def _complete(client: Minio, bucket: str, key: str, upload: str, parts: list[Part], condition: dict[str, str]) -> None:
    """Complete with a condition, which minio-py's own call cannot carry."""
    listed = "".join(
        f"<Part><PartNumber>{part.part_number}</PartNumber><ETag>&quot;{part.etag}&quot;</ETag></Part>"
        for part in parts
    )
    answer = client._execute(  # noqa: SLF001
        "POST",
        bucket,
        key,
        body=f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode(),
        headers={"Content-Type": "application/xml", **condition},
        query_params={"uploadId": upload},
    )
    if b"<Error>" in answer.data:  # S3 may find out after it has said 200
        raise ServerError(f"the parts could not be joined: {answer.data[:200]!r}", 500)
