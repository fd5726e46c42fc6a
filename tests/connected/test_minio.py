"""P2, P4: what only the real blob store can show: nothing is left behind, memory stays flat, outages are told."""

import asyncio
import hashlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from minio import Minio

from contracts.ports import BlobExistsError, BlobNotFoundError, UnavailableError
from infra.adapters.minio.blobs import MinioBlobs
from infra.local.ports import LOOPBACK
from infra.settings import Settings
from tests.connected.stores import minio_blobs

pytestmark = pytest.mark.connected

MEBI = 2**20


@pytest.fixture
async def blobs(servers: Settings) -> AsyncIterator[MinioBlobs]:
    async with minio_blobs(servers) as blobs:
        yield blobs


@pytest.fixture
def prefix() -> str:
    return f"local/file-{uuid4().hex}"


def unfinished(blobs: MinioBlobs, key: str) -> list[str]:
    """The uploads that were begun under a key and neither completed nor aborted."""
    client: Minio = blobs._client
    found = client._list_multipart_uploads(blobs._bucket, prefix=key)
    return [upload.upload_id or "" for upload in found.uploads]


async def endless(started: asyncio.Event) -> AsyncIterator[bytes]:
    sent = 0
    while True:
        yield bytes(MEBI)
        sent += 1
        if sent == 20:
            started.set()
            await asyncio.Event().wait()


async def test_a_cancelled_upload_leaves_nothing_not_even_parts(blobs: MinioBlobs, prefix: str) -> None:
    started = asyncio.Event()
    task = asyncio.create_task(blobs.put(f"{prefix}/content", endless(started)))
    await started.wait()
    async with asyncio.timeout(10):
        while not unfinished(blobs, f"{prefix}/content"):
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert unfinished(blobs, f"{prefix}/content") == []
    assert await blobs.list(prefix) == []


async def test_a_broken_upload_leaves_no_parts(blobs: MinioBlobs, prefix: str) -> None:
    async def broken() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(8 * MEBI)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await blobs.put(f"{prefix}/content", broken())
    assert unfinished(blobs, f"{prefix}/content") == []


async def test_an_exclusive_upload_that_loses_leaves_no_parts(blobs: MinioBlobs, prefix: str) -> None:
    await blobs.put(f"{prefix}/content", b"first", exclusive=True)
    with pytest.raises(BlobExistsError):
        await blobs.put(f"{prefix}/content", bytes(17 * MEBI), exclusive=True)
    assert unfinished(blobs, f"{prefix}/content") == []
    assert await blobs.get(f"{prefix}/content") == b"first"


async def test_one_of_many_exclusive_uploads_wins(blobs: MinioBlobs, prefix: str) -> None:
    tries = (blobs.put(f"{prefix}/content", bytes([number]) * 100, exclusive=True) for number in range(8))
    ended = await asyncio.gather(*tries, return_exceptions=True)
    won = [number for number, end in enumerate(ended) if not isinstance(end, BaseException)]
    assert len(won) == 1
    assert [type(end) for number, end in enumerate(ended) if number not in won] == [BlobExistsError] * 7
    assert await blobs.get(f"{prefix}/content") == bytes([won[0]]) * 100


async def test_a_reader_that_goes_away_frees_its_connection(blobs: MinioBlobs, prefix: str) -> None:
    await blobs.put(f"{prefix}/content", bytes(20 * MEBI))
    for _ in range(40):  # more than there are connections
        stream = blobs.stream(f"{prefix}/content")
        assert len(await anext(stream)) == MEBI
        await stream.aclose()  # type: ignore[attr-defined]
    assert len(await blobs.get(f"{prefix}/content")) == 20 * MEBI


async def test_names_of_any_alphabet_are_kept(blobs: MinioBlobs, prefix: str) -> None:
    key = f"{prefix}/größe & 'quotes' 中文?#%2F+ .jsonl"
    await blobs.put(key, b"x")
    assert await blobs.list(prefix) == [key]
    assert await blobs.get(key) == b"x"
    assert await blobs.delete(f"{prefix}/") == 1


async def test_more_than_a_page_is_listed_and_deleted(blobs: MinioBlobs, prefix: str) -> None:
    limit = asyncio.Semaphore(16)

    async def put(number: int) -> None:
        async with limit:
            await blobs.put(f"{prefix}/{number:04}", b"")

    await asyncio.gather(*(put(number) for number in range(1001)))
    assert await blobs.list(prefix) == [f"{prefix}/{number:04}" for number in range(1001)]
    assert await blobs.delete(prefix) == 1001
    assert await blobs.list(prefix) == []


PROGRAM = """
import asyncio, resource, sys
from infra.settings import Settings
from tests.connected.stores import minio_blobs

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

async def chunks(n):
    piece = bytes(2**20)
    for _ in range(n):
        yield piece

async def main(key):
    async with minio_blobs(Settings()) as blobs:
        await blobs.put(key, chunks(9))
        before = peak()
        ref = await blobs.put(key, chunks(256))
        print(ref.bytes, ref.sha256, peak() - before)
        async for _ in blobs.stream(key):
            pass
        print(peak() - before)

asyncio.run(main(sys.argv[1]))
"""


async def test_memory_is_flat_however_long_the_content(servers: Settings, prefix: str, tmp_path: Path) -> None:
    assert servers.s3_url
    env = {
        "PATH": "/usr/bin",
        "PYTHONPATH": str(Path.cwd()),
        "TEMPER_HOME": str(tmp_path),
        "TEMPER_S3_URL": servers.s3_url,
    }
    for name in ("s3_access_key", "s3_secret_key"):
        env[f"TEMPER_{name.upper()}"] = getattr(servers, name).get_secret_value()
    command = [sys.executable, "-c", PROGRAM, f"{prefix}/content"]
    done = await asyncio.to_thread(subprocess.run, command, env=env, capture_output=True, text=True, check=True)
    size, digest, grown, grown_after_reading = done.stdout.split()
    assert int(size) == 256 * MEBI
    assert digest == hashlib.sha256(bytes(256 * MEBI)).hexdigest()
    assert float(grown) < 64
    assert float(grown_after_reading) < 64


async def test_a_store_that_is_away_or_hangs_is_transient() -> None:
    with socket.create_server((LOOPBACK, 0)) as silent:  # accepts and says nothing
        hanging = MinioBlobs(f"http://{LOOPBACK}:{silent.getsockname()[1]}", "access", "secret-secret", "temper")
        async with asyncio.timeout(5):
            with pytest.raises(UnavailableError) as told:
                await hanging.ping()
        assert told.value.dependency == "minio"
    away = hanging  # nobody listens any more
    async with asyncio.timeout(10):
        with pytest.raises(UnavailableError):
            await away.get("local/file-1/content")
        with pytest.raises(UnavailableError):
            await away.put("local/file-1/content", b"x")
    away.close()


async def test_a_missing_bucket_is_transient_and_no_missing_blob(servers: Settings) -> None:
    assert servers.s3_url
    assert servers.s3_access_key
    assert servers.s3_secret_key
    keys = servers.s3_access_key.get_secret_value(), servers.s3_secret_key.get_secret_value()
    blobs = MinioBlobs(servers.s3_url, *keys, f"test-{uuid4().hex}")
    with pytest.raises(UnavailableError):
        await blobs.ping()
    with pytest.raises(UnavailableError):
        await blobs.get("local/file-1/content")
    with pytest.raises(UnavailableError):
        await blobs.put("local/file-1/content", b"x")
    await asyncio.gather(*(blobs.ensure_bucket() for _ in range(4)))
    await blobs.ping()
    with pytest.raises(BlobNotFoundError):
        await blobs.get("local/file-1/content")
    blobs.close()
