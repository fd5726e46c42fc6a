"""Blobs on MinIO, or any S3 server: minio-py in threads, bounded waits, memory flat."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.commonconfig import ComposeSource
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.util import Retry, Timeout

from contracts.blobs import BlobRef
from contracts.ports import BlobExistsError, BlobMismatchError, BlobNotFoundError, BlobStat, UnavailableError
from infra.adapters.blob_keys import checked
from infra.adapters.minio.joining import Piece, joined
from infra.adapters.minio.multipart import PART_BYTES, Upload

P = ParamSpec("P")
T = TypeVar("T")

_CHUNK_BYTES = 2**20
_THREADS = 16
_PAGE = 1000  # keys in one answer of a list
_REGION = "us-east-1"  # stated, so that no request has to ask for it
_NOT_THERE = frozenset({"NoSuchKey", "NoSuchObject"})
_SICK = (500, 502, 503, 504)
_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_BEYOND = "InvalidRange"

log = logging.getLogger(__name__)
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it warns with whole addresses, signed ones too


class MinioBlobs:
    """The `Blobs` port on an S3 bucket.

    Every method raises UnavailableError("minio") when the server does not answer within about 20 s.
    """

    def __init__(self, url: str, access_key: str, secret_key: str, bucket: str) -> None:
        # the client's own waits are minutes long
        patient = Retry(
            total=2, connect=1, read=1, status=2, backoff_factor=0.2, status_forcelist=_SICK, allowed_methods=None
        )
        self._pool = urllib3.PoolManager(timeout=Timeout(connect=2, read=8), maxsize=_THREADS, retries=patient)
        self._client = _client(url, access_key, secret_key, self._pool)
        quick = urllib3.PoolManager(timeout=Timeout(connect=1, read=2), retries=Retry(total=0))
        self._probe = _client(url, access_key, secret_key, quick)
        self._bucket = bucket
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="minio")

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=True)

    async def ensure_bucket(self) -> None:
        """Create the bucket unless it is there."""
        if not await self._run(self._client.bucket_exists, self._bucket):
            with suppress(_AlreadyOwnedError):
                await self._run(_make_bucket, self._client, self._bucket)

    async def ping(self) -> None:
        """Return when the server answers for the bucket; raises UnavailableError within 3 s otherwise."""
        if not await self._run(self._probe.bucket_exists, self._bucket):
            raise UnavailableError("minio", f"the bucket {self._bucket} is not there")

    async def put(
        self,
        key: str,
        data: bytes | AsyncIterator[bytes],
        media_type: str = "application/octet-stream",
        exclusive: bool = False,
    ) -> BlobRef:
        """Store bytes under `key`; a stream that fails or is cancelled leaves nothing behind.

        Raises BlobExistsError when `exclusive` and the key is taken.
        """
        upload = Upload(self._client, self._pool, self._bucket, checked(key), media_type, exclusive, self._run)
        digest, size = await upload.send(_slices(data) if isinstance(data, bytes) else data)
        return BlobRef(key=key, sha256=digest, bytes=size, media_type=media_type)

    async def get(self, key: str) -> bytes:
        """Return all bytes; raises BlobNotFoundError."""
        return b"".join([chunk async for chunk in self.stream(key)])

    async def stream(self, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `offset`, `length` of them at most; raises BlobNotFoundError."""
        checked(key)
        if length == 0:
            return
        try:
            response = await self._run(self._client.get_object, self._bucket, key, offset=offset, length=length or 0)
        except _BeyondError:
            return
        try:
            while chunk := await self._run(response.read, _CHUNK_BYTES):
                yield chunk
        finally:
            await self._run(_put_back, response)

    async def fetch(self, ref: BlobRef, path: Path) -> None:
        """Download to `path`, which appears whole or not at all; raises BlobNotFoundError or BlobMismatchError."""
        digest = hashlib.sha256()
        partial_path = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            with await asyncio.to_thread(partial_path.open, "wb") as file:
                async for chunk in self.stream(ref.key):
                    await asyncio.to_thread(_keep, file.write, digest.update, chunk)
            if digest.hexdigest() != ref.sha256:
                raise BlobMismatchError(f"{ref.key} is not the content that its reference names")
            await asyncio.to_thread(partial_path.replace, path)
        finally:
            await asyncio.to_thread(partial_path.unlink, missing_ok=True)

    async def store(self, key: str, path: Path, media_type: str = "application/octet-stream") -> BlobRef:
        """Store a file's bytes."""
        return await self.put(key, _file(path), media_type)

    async def join(self, key: str, sources: Sequence[BlobStat]) -> None:
        """Store under `key` what these blobs hold, one behind the other; raises BlobNotFoundError.

        The server copies. What is below its least part is put together here first, with a piece of what follows.
        """
        made: list[str] = []
        composed: list[ComposeSource] = []
        try:
            for pieces in joined(sources):
                whole = pieces[0]
                if len(pieces) > 1:
                    made.append(f"{checked(key)}.{uuid.uuid4().hex}")
                    await self.put(made[-1], self._pieces(pieces))
                    whole = Piece(made[-1])
                composed.append(ComposeSource(self._bucket, whole.key, offset=whole.offset, length=whole.length))
            if composed:
                await self._run(self._client.compose_object, self._bucket, checked(key), composed)
            else:
                await self.put(key, b"")
        finally:
            if made:
                await self.remove(made)

    async def _pieces(self, pieces: Sequence[Piece]) -> AsyncIterator[bytes]:
        for each in pieces:
            async for chunk in self.stream(each.key, each.offset or 0, each.length):
                yield chunk

    async def stat(self, key: str) -> BlobStat | None:
        """Return what is known of a blob, or None."""
        try:
            found = await self._run(self._client.stat_object, self._bucket, checked(key))
        except BlobNotFoundError:
            return None
        return BlobStat(key, found.size or 0, found.content_type or "application/octet-stream")

    async def list(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`, sorted."""
        return await self._run(_keys, self._client, self._bucket, prefix)

    async def walk(self, prefix: str) -> AsyncIterator[BlobStat]:
        """Yield what is known of each blob whose key begins with `prefix`, in the order of keys, a page at a time."""
        found = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
        while page := await self._run(_page, found):
            for each in page:
                yield each

    async def folders(self, prefix: str) -> Sequence[str]:
        """Return the names that follow `prefix`, up to the next slash, sorted; what lies in them is not looked at."""
        return await self._run(_folders, self._client, self._bucket, prefix)

    async def delete(self, prefix: str) -> int:
        """Delete every blob whose key begins with `prefix`, `{tenant}/{subject}` at least; return how many."""
        checked(prefix.removesuffix("/"))
        return await self._run(_delete, self._client, self._bucket, prefix)

    async def remove(self, keys: Sequence[str]) -> None:
        """Delete the blobs of these keys, a thousand in a request; one that is not there is none."""
        await self._run(_remove, self._client, self._bucket, [checked(key) for key in keys])

    async def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call in a thread; a cancelled caller waits for the thread, so that nothing happens behind its back."""
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._threads, partial(_translated, call, *args, **kwargs))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            with suppress(Exception):
                future.result()
            raise


class _BeyondError(Exception):
    """The range begins behind the end."""


class _AlreadyOwnedError(Exception):
    """Somebody else made the bucket at the same time."""


def _client(url: str, access_key: str, secret_key: str, pool: urllib3.PoolManager) -> Minio:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{url!r} is no S3 address; it looks like http://127.0.0.1:9000")
    return Minio(
        parts.netloc,
        access_key=access_key,
        secret_key=secret_key,
        secure=parts.scheme == "https",
        region=_REGION,
        http_client=pool,
    )


def _translated(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call, and say what went wrong in the port's words."""
    with _translation():
        return call(*args, **kwargs)


@contextmanager
def _translation() -> Iterator[None]:
    try:
        yield
    except S3Error as error:
        raise _meaning(error) from error
    except (ServerError, InvalidResponseError, urllib3.exceptions.HTTPError, OSError) as error:
        said = str(error).partition("?")[0]  # behind it stands a presigned request's signature
        raise UnavailableError("minio", f"the blob store does not answer: {said[:200]}") from None


def _meaning(error: S3Error) -> Exception:
    status = getattr(error.response, "status", 0)
    if error.code in _NOT_THERE:
        return BlobNotFoundError(error.object_name or "")
    if error.code in _TAKEN or status == 412:
        return BlobExistsError(error.object_name or "")
    if error.code == _BEYOND:
        return _BeyondError()
    if error.code in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
        return _AlreadyOwnedError()
    if status >= 500 or error.code in ("NoSuchBucket", "SlowDown", "RequestTimeout", "XMinioStorageFull"):
        return UnavailableError("minio", f"the blob store answers {error.code}: {error.message}")
    return error


def _make_bucket(client: Minio, bucket: str) -> None:
    client.make_bucket(bucket)


def _keys(client: Minio, bucket: str, prefix: str) -> list[str]:
    return sorted(found.object_name or "" for found in client.list_objects(bucket, prefix=prefix, recursive=True))


def _delete(client: Minio, bucket: str, prefix: str) -> int:
    keys = _keys(client, bucket, prefix)
    _remove(client, bucket, keys)
    return len(keys)


def _remove(client: Minio, bucket: str, keys: Sequence[str]) -> None:
    for error in client.remove_objects(bucket, [DeleteObject(key) for key in keys]):
        raise UnavailableError("minio", f"{error.name} could not be deleted: {error.code}")


def _page(found: Iterator[Any]) -> list[BlobStat]:
    return [
        BlobStat(each.object_name, each.size or 0, "", int(each.last_modified.timestamp() * 1000))
        for each in islice(found, _PAGE)
    ]


def _folders(client: Minio, bucket: str, prefix: str) -> list[str]:
    found = client.list_objects(bucket, prefix=prefix)
    return sorted((each.object_name or "").removeprefix(prefix).rstrip("/") for each in found if each.is_dir)


def _put_back(response: Any) -> None:
    response.close()
    response.release_conn()


def _keep(write: Callable[[bytes], int], update: Callable[[bytes], None], chunk: bytes) -> None:
    write(chunk)
    update(chunk)


async def _slices(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), PART_BYTES):
        yield data[start : start + PART_BYTES]


async def _file(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk
