"""What every implementation of the `Blobs` port does; a subclass gives the fixture `blobs`."""

import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from contracts.blobs import BlobRef
from contracts.ports import BlobExistsError, BlobMismatchError, BlobNotFoundError, Blobs

MEBI = 2**20


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def broken(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    raise ConnectionResetError("the client is gone")


async def read(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in stream])


class BlobsSuite:
    @pytest.fixture
    def prefix(self) -> str:
        return f"local/file-{uuid4().hex}"

    @pytest.mark.parametrize(
        "content", [b"", b"x", b"line\n" * 1000, bytes(17 * MEBI)], ids=["empty", "one", "5k", "17M"]
    )
    async def test_what_was_put_comes_back_with_its_hash(self, blobs: Blobs, prefix: str, content: bytes) -> None:
        ref = await blobs.put(f"{prefix}/content", content, "text/plain")
        assert ref == BlobRef(
            key=f"{prefix}/content",
            sha256=hashlib.sha256(content).hexdigest(),
            bytes=len(content),
            media_type="text/plain",
        )
        assert await blobs.get(ref.key) == content
        stat = await blobs.stat(ref.key)
        assert stat is not None
        assert (stat.key, stat.bytes, stat.media_type) == (ref.key, len(content), "text/plain")

    @pytest.mark.parametrize("sizes", [(), (0,), (3, 0, 5), (MEBI,) * 20, (8 * MEBI,), (8 * MEBI, 1), (19 * MEBI + 7,)])
    async def test_a_stream_of_unknown_length_is_stored_whole(
        self, blobs: Blobs, prefix: str, sizes: tuple[int, ...]
    ) -> None:
        chunks = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
        ref = await blobs.put(f"{prefix}/content", pieces(*chunks))
        whole = b"".join(chunks)
        assert (ref.bytes, ref.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
        assert await blobs.get(ref.key) == whole

    @pytest.mark.parametrize("size", [10, 9 * MEBI])
    async def test_a_stream_that_breaks_leaves_nothing(self, blobs: Blobs, prefix: str, size: int) -> None:
        with pytest.raises(ConnectionResetError):
            await blobs.put(f"{prefix}/content", broken(bytes(size), bytes(size)))
        assert await blobs.stat(f"{prefix}/content") is None
        assert await blobs.list(prefix) == []

    @pytest.mark.parametrize("size", [10, 9 * MEBI])
    async def test_an_exclusive_put_never_replaces(self, blobs: Blobs, prefix: str, size: int) -> None:
        key = f"{prefix}/content"
        await blobs.put(key, pieces(b"a" * size), exclusive=True)
        with pytest.raises(BlobExistsError):
            await blobs.put(key, pieces(b"b" * size), exclusive=True)
        assert await blobs.get(key) == b"a" * size
        await blobs.put(key, b"plain")
        assert await blobs.get(key) == b"plain"

    @pytest.mark.parametrize(
        ("offset", "length", "expected"),
        [
            (0, None, b"0123456789"),
            (3, None, b"3456789"),
            (2, 4, b"2345"),
            (8, 99, b"89"),
            (10, None, b""),
            (99, 1, b""),
            (4, 0, b""),
        ],
    )
    async def test_a_range_is_streamed(
        self, blobs: Blobs, prefix: str, offset: int, length: int | None, expected: bytes
    ) -> None:
        await blobs.put(f"{prefix}/content", b"0123456789")
        assert await read(blobs.stream(f"{prefix}/content", offset, length)) == expected

    async def test_what_is_missing_is_named(self, blobs: Blobs, prefix: str, tmp_path: Path) -> None:
        key = f"{prefix}/nothing"
        assert await blobs.stat(key) is None
        with pytest.raises(BlobNotFoundError, match=key):
            await blobs.get(key)
        with pytest.raises(BlobNotFoundError, match=key):
            await read(blobs.stream(key, 5))
        with pytest.raises(BlobNotFoundError, match=key):
            await blobs.fetch(BlobRef(key=key, sha256="0" * 64, bytes=1), tmp_path / "file")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "sizes",
        [(), (0,), (3,), (5 * MEBI, 1), (1, 6 * MEBI, 0, 2, 11 * MEBI, 3), (1, 1, 1), (4 * MEBI, 7 * MEBI, 1)],
        ids=str,
    )
    async def test_blobs_are_joined_in_the_order_that_is_asked_for(
        self, blobs: Blobs, prefix: str, sizes: tuple[int, ...]
    ) -> None:
        contents = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
        for number, content in enumerate(contents):
            await blobs.put(f"{prefix}/parts/{99 - number}", content)
        parts = [stat async for stat in blobs.walk(f"{prefix}/parts/")][::-1]
        await blobs.join(f"{prefix}/content", parts)
        assert await blobs.get(f"{prefix}/content") == b"".join(contents)
        assert len(await blobs.list(f"{prefix}/")) == 1 + len(sizes)  # what was put together on the way is gone

    async def test_a_blob_that_is_gone_is_joined_to_nothing(self, blobs: Blobs, prefix: str) -> None:
        for name in ("a", "b"):
            await blobs.put(f"{prefix}/parts/{name}", bytes(6 * MEBI))
        parts = [stat async for stat in blobs.walk(f"{prefix}/parts/")]
        await blobs.remove([parts[1].key])
        with pytest.raises(BlobNotFoundError):
            await blobs.join(f"{prefix}/content", parts)
        assert await blobs.stat(f"{prefix}/content") is None

    async def test_a_file_is_stored_and_fetched(self, blobs: Blobs, prefix: str, tmp_path: Path) -> None:
        (tmp_path / "here").write_bytes(b"weights" * 100_000)
        ref = await blobs.store(f"{prefix}/weights", tmp_path / "here", "application/x-safetensors")
        await blobs.fetch(ref, tmp_path / "there")
        assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]

    async def test_other_bytes_than_the_reference_names_are_never_seen(
        self, blobs: Blobs, prefix: str, tmp_path: Path
    ) -> None:
        ref = await blobs.put(f"{prefix}/weights", b"right")
        await blobs.put(f"{prefix}/weights", b"wrong")
        with pytest.raises(BlobMismatchError, match=ref.key):
            await blobs.fetch(ref, tmp_path / "weights")
        assert list(tmp_path.iterdir()) == []

    async def test_a_prefix_is_listed_and_deleted_and_nothing_else(self, blobs: Blobs, prefix: str) -> None:
        for name in ("b", "a", "deep/er"):
            await blobs.put(f"{prefix}/{name}", b"x")
        await blobs.put(f"{prefix}-other/a", b"x")
        assert await blobs.list(f"{prefix}/") == [f"{prefix}/a", f"{prefix}/b", f"{prefix}/deep/er"]
        assert await blobs.delete(f"{prefix}/") == 3
        assert await blobs.delete(f"{prefix}/") == 0
        assert await blobs.list(prefix) == [f"{prefix}-other/a"]

    async def test_blobs_are_walked_with_size_and_age_and_single_ones_removed(self, blobs: Blobs, prefix: str) -> None:
        began = time.time() * 1000
        for name, content in (("a", b"1"), ("deep/er", b"22"), ("other/x", b"333")):
            await blobs.put(f"{prefix}/{name}", content)
        found = [stat async for stat in blobs.walk(f"{prefix}/")]
        assert [(stat.key.removeprefix(f"{prefix}/"), stat.bytes) for stat in found] == [
            ("a", 1),
            ("deep/er", 2),
            ("other/x", 3),
        ]
        assert all(began - 60_000 < stat.modified < began + 60_000 for stat in found)
        assert await blobs.folders(f"{prefix}/") == ["deep", "other"]
        assert prefix.partition("/")[2] in await blobs.folders("local/")
        await blobs.remove([f"{prefix}/deep/er", f"{prefix}/nothing"])
        assert await blobs.list(f"{prefix}/") == [f"{prefix}/a", f"{prefix}/other/x"]

    @pytest.mark.parametrize(
        "key", ["", "one", "/local/x", "local//x", "local/../x", "local/./x", "local/x/", "l/" + "x" * 1024]
    )
    async def test_what_is_no_key_is_refused(self, blobs: Blobs, key: str) -> None:
        with pytest.raises(ValueError, match="blob key"):
            await blobs.put(key, b"x")

    @pytest.mark.parametrize("prefix", ["", "/", "local", "local/"])
    async def test_a_whole_tenant_is_never_deleted(self, blobs: Blobs, prefix: str) -> None:
        with pytest.raises(ValueError, match="blob key"):
            await blobs.delete(prefix)
