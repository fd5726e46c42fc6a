"""P7: a deletion takes what work on the file writes at the same time, whichever of the two comes first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from contracts.blobs import BlobRef
from contracts.events.corpus import ZipUploaded
from contracts.events.files import FileDeleted
from contracts.ports import AbandonedError, BlobNotFoundError
from infra.adapters.memory import MemoryBlobs
from infra.runtime.deleted_files import ErasingBlobs
from tests.functional.edge import World

FILE, OTHER = "file-1", "file-2"
TEXT = f"acme/{FILE}/documents/doc-1/text.json"


async def known(*files: str) -> World:
    world = World()
    for file in files:
        blob = await world.blobs.put(f"acme/{file}/content", b"zip")
        await world.say(ZipUploaded(blob=blob, filename="a.zip", purpose="fine-tune"), file, "acme")
    return world


async def erase(world: World, id: str = FILE) -> None:
    """What DELETE /files/{id} does."""
    await world.say(FileDeleted(), id, "acme")
    await world.blobs.delete(f"acme/{id}/")


async def test_what_a_living_file_is_made_into_stays(tmp_path: Path) -> None:
    world = await known(FILE)
    blobs = ErasingBlobs(world.blobs, world.documents)
    ref = await blobs.put(TEXT, b"text", "application/json")
    (tmp_path / "rows").write_bytes(b"rows")
    await blobs.store(f"acme/{FILE}/dataset/v/rows.jsonl", tmp_path / "rows")
    await blobs.fetch(ref, tmp_path / "text")
    assert (tmp_path / "text").read_bytes() == await blobs.get(TEXT) == b"text"
    assert b"".join([chunk async for chunk in blobs.stream(TEXT, 1, 2)]) == b"ex"
    assert len(await blobs.list(f"acme/{FILE}/")) == 3
    assert (await blobs.stat(TEXT)) == await world.blobs.stat(TEXT)


async def test_what_is_written_after_the_deletion_is_gone_and_the_work_stops(tmp_path: Path) -> None:
    world = await known(FILE, OTHER)
    blobs = ErasingBlobs(world.blobs, world.documents)
    await erase(world)
    (tmp_path / "rows").write_bytes(b"rows")
    with pytest.raises(AbandonedError, match="file-1 was deleted"):
        await blobs.put(TEXT, b"text")
    with pytest.raises(AbandonedError, match="file-1 was deleted"):
        await blobs.store(f"acme/{FILE}/dataset/v/rows.jsonl", tmp_path / "rows")
    assert await world.blobs.list("acme/") == [f"acme/{OTHER}/content"]
    with pytest.raises(AbandonedError):
        await blobs.get(TEXT)
    with pytest.raises(AbandonedError):
        await blobs.fetch(BlobRef(key=TEXT, sha256="0" * 64, bytes=4), tmp_path / "text")
    with pytest.raises(AbandonedError):
        [chunk async for chunk in blobs.stream(TEXT)]


async def test_what_was_never_there_is_missing_and_not_abandoned() -> None:
    world = await known(FILE)
    with pytest.raises(BlobNotFoundError):
        await ErasingBlobs(world.blobs, world.documents).get(TEXT)


@dataclass
class Meanwhile(MemoryBlobs):
    """Somebody deletes the file while a blob is being written: before its bytes are there, or just after."""

    world: World
    before: bool

    def __post_init__(self) -> None:
        super().__init__()
        self._blobs = self.world.blobs._blobs

    async def put(
        self, key: str, data: bytes | AsyncIterator[bytes], media_type: str = "", exclusive: bool = False
    ) -> BlobRef:
        if self.before:
            await erase(self.world)
        ref = await super().put(key, data, media_type, exclusive)
        if not self.before:
            await erase(self.world)
        return ref


@pytest.mark.parametrize("before", [True, False])
async def test_a_deletion_in_the_middle_of_a_write_leaves_nothing(before: bool) -> None:
    world = await known(FILE)
    blobs = ErasingBlobs(Meanwhile(world, before), world.documents)
    with pytest.raises(AbandonedError):
        await blobs.put(TEXT, b"text")
    assert await world.blobs.list("acme/") == []


async def test_the_same_id_of_another_tenant_and_a_thing_that_is_no_file_are_left_alone() -> None:
    world = await known(FILE)
    blobs = ErasingBlobs(world.blobs, world.documents)
    await erase(world)
    for key in (f"umbrella/{FILE}/content", "acme/ftjob-1/tokens"):
        await blobs.put(key, b"x")
        assert await blobs.get(key) == b"x"
