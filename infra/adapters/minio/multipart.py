"""One upload of unknown length: small content in one request, more in parts, and nothing left when it fails."""

from __future__ import annotations

import asyncio
import hashlib
import html
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Mapping
from datetime import timedelta
from typing import Any, Protocol

from minio import Minio
from minio.error import S3Error, ServerError
from urllib3 import BaseHTTPResponse, PoolManager

from contracts.ports import UnavailableError

PART_BYTES = 8 * 2**20
_SMALL_BYTES = 2**16
"""Up to this, content takes as much memory as it has bytes; beyond, a whole part."""
_IN_FLIGHT = 2

_VALID = timedelta(hours=1)
_UPLOAD_ID = re.compile(rb"<UploadId>([^<]+)</UploadId>")

log = logging.getLogger(__name__)


class PartRun(Protocol):
    """Calls a blocking function in a thread and translates its errors."""

    def __call__(self, call: Any, *args: Any, **kwargs: Any) -> Awaitable[Any]: ...


class Upload:
    """One object on its way, by presigned requests.

    minio-py's own streaming needs a blocking reader, holds every part twice, and takes no condition (If-None-Match).
    """

    def __init__(
        self, client: Minio, pool: PoolManager, bucket: str, key: str, media_type: str, exclusive: bool, run: PartRun
    ) -> None:
        self._client, self._pool = client, pool
        self._where = (bucket, key)
        self._type = {"Content-Type": media_type}
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
            await self._run(self._ask, "PUT", {}, first, {**self._type, **self._condition})
        else:
            await self._multipart(first, parts)
        return self._digest.hexdigest(), self._size

    def _ask(
        self,
        method: str,
        query: dict[str, Any],
        body: bytes | bytearray = b"",
        headers: Mapping[str, str] | None = None,
    ) -> BaseHTTPResponse:
        url = self._client.get_presigned_url(method, *self._where, expires=_VALID, extra_query_params=query)
        response = self._pool.request(method, url, body=body, headers=headers)  # type: ignore[arg-type]  # bytearray
        if response.status >= 500 or (response.status >= 300 and not response.data):
            raise ServerError(f"{method} is answered with {response.status}", response.status)
        if response.status >= 300:
            raise S3Error.fromxml(response)
        return response

    async def _multipart(self, first: bytearray, rest: AsyncIterator[bytearray]) -> None:
        begun = _UPLOAD_ID.search((await self._run(self._ask, "POST", {"uploads": ""}, b"", self._type)).data)
        if begun is None:
            raise UnavailableError("minio", "the blob store began an upload and did not say its id")
        upload = {"uploadId": html.unescape(begun[1].decode())}
        try:
            etags = await self._send_parts(upload, first, rest)
            await self._run(self._complete, upload, etags)
        except BaseException:
            await self._abort(upload)
            raise

    async def _send_parts(
        self, upload: dict[str, str], first: bytearray, rest: AsyncIterator[bytearray]
    ) -> dict[int, str]:
        free = asyncio.Semaphore(_IN_FLIGHT)
        done: dict[int, str] = {}

        async def send(number: int, data: bytearray) -> None:
            try:
                answer = await self._run(self._ask, "PUT", {"partNumber": str(number), **upload}, data)
                done[number] = answer.headers["etag"]
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
        return done

    def _complete(self, upload: dict[str, str], etags: Mapping[int, str]) -> None:
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{html.escape(etag)}</ETag></Part>"
            for number, etag in sorted(etags.items())
        )
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        answer = self._ask("POST", dict(upload), body, {"Content-Type": "application/xml", **self._condition})
        if b"<Error>" in answer.data:  # S3 may find out after it has said 200
            raise ServerError(f"the parts could not be joined: {answer.data[:200]!r}", 500)

    async def _count(self, data: bytearray) -> None:
        self._size += len(data)
        await asyncio.to_thread(self._digest.update, data)

    async def _abort(self, upload: dict[str, str]) -> None:
        """Tell the server to forget the parts; a second cancellation does not stop that."""
        forget = asyncio.ensure_future(self._run(self._ask, "DELETE", dict(upload)))
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
