"""Progress, rows and lineage on the real stores: MongoDB counts as the folds do, MinIO is read in parts."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from contracts.ports import Documents
from functions.edge import lines, provenance
from infra.adapters.minio.blobs import MinioBlobs
from infra.adapters.mongo.documents import Database, MongoDocuments
from infra.settings import Settings
from tests.connected.stores import minio_blobs
from tests.functional.dataset import MODEL, asked, job, planned, read, uploaded
from tests.functional.edge import World
from tests.functional.test_assemble_dataset import ARCHIVE

pytestmark = pytest.mark.connected


async def shown(documents: Documents) -> tuple[Any, Sequence[Any]]:
    archive = await documents.get("archives", ARCHIVE)
    assert archive is not None
    return await provenance.progress(documents, archive), await provenance.jobs_using(documents, "acme", ARCHIVE)


async def test_mongodb_says_how_far_an_archive_is_as_the_folds_in_memory_do(db: Database) -> None:
    world, stored = World(), MongoDocuments(db, generation="g")
    for step in (uploaded, read, planned, asked, job):
        told = len(world.emit.events)
        await step(world)
        for event in world.emit.events[told:]:
            await stored.apply(event)
        assert await shown(stored) == await shown(world.documents)
    await world.tuned("ftjob-1", MODEL, 30, "acme")
    await stored.apply(world.emit.events[-1])
    progress, jobs = await shown(stored)
    assert (progress["rows_made"], progress["stage"], progress["documents"]["chunked"]) == (24, "assembling", 4)
    assert jobs[0]["models"] == [{"id": MODEL, "deleted": False}]
    assert await stored.total("documents", "examples.kept", {"archive": "file-of-nobody"}) == 0


@dataclass
class Counting:
    """Reads of the real store, and how many bytes they asked for."""

    blobs: MinioBlobs
    asked: list[int] = field(default_factory=list)

    async def stream(self, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        assert length is not None
        self.asked.append(length)
        async for chunk in self.blobs.stream(key, offset, length):
            yield chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self.blobs, name)


async def test_a_page_of_a_large_data_set_reads_a_small_part_of_it_from_minio(servers: Settings) -> None:
    key, rows = f"acme/file-{uuid.uuid4().hex}/dataset/v/rows.jsonl", 20_000
    async with minio_blobs(servers) as blobs:
        body = b"".join(json.dumps({"text": "x" * 2000, "line": line}).encode() + b"\n" for line in range(1, rows + 1))
        await blobs.put(key, body)
        counting: Any = Counting(blobs)
        for first in (1, 7_777, rows - 4):
            counting.asked.clear()
            found = await lines.numbered(counting, key, first, 20)
            assert [json.loads(line)["line"] for line in found] == list(range(first, min(first + 20, rows + 1)))
            assert sum(counting.asked) < len(body) / 20
        await blobs.delete(key.rpartition("/")[0])
