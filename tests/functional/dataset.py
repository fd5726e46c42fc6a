"""An archive on its way to a data set, step by step, as the events of a worker tell it; the blobs are real."""

from __future__ import annotations

import json
from pathlib import Path

from contracts.blobs import BlobRef
from contracts.corpus import Chunk, DroppedChunk
from contracts.events.corpus import (
    CorpusPlanned,
    DatasetAssembled,
    DocumentChunked,
    DocumentExtracted,
    DocumentRejected,
    ExamplesSynthesized,
    ZipExtracted,
    ZipUploaded,
)
from contracts.events.jobs import JobCreated
from infra.adapters.memory import MemoryBlobs
from tests.functional.edge import BASE, World
from tests.functional.test_assemble_dataset import ARCHIVE, PREFIX, assemble
from tests.unit.assemble_dataset.archive import Archive, archive, chunk, example

BROKEN = "doc-" + "f" * 32
MADE = archive(documents=4, chunks=6, held_out=1)
MODEL = f"ft:{BASE}:acme:pumps:abcdefgh"
COPY = chunk(MADE.documents[-1].document, 6, MADE.documents[0].chunks[0].text)
"""A chunk that says the same as another document's first."""
UNFAITHFUL = example(
    MADE.documents[0].chunks[0], "The pump", "What is the pump?", "A\x1b[2Jpump", code="unfaithful", message="No."
)
Assembled = tuple[DatasetAssembled, MemoryBlobs]


def part(id: str) -> Chunk:
    return next(each for document in MADE.documents for each in document.chunks if each.id == id)


async def blob(world: World, name: str) -> BlobRef:
    return await world.blobs.put(f"{PREFIX}/{name}", b"bytes of the thing")


async def uploaded(world: World) -> None:
    data = ZipUploaded(blob=await blob(world, "content"), filename="a.zip", purpose="fine-tune")
    await world.say(data, ARCHIVE, "acme")


async def read(world: World) -> None:
    """Four documents are cut, the fifth cannot be read."""
    skipped = {"path": "logo.png", "bytes": 1, "sha256": "", "document": None, "code": "unsupported", "message": "m"}
    members = await world.blobs.put(f"{PREFIX}/members.json", json.dumps([skipped]).encode())
    await world.say(ZipExtracted(manifest=members, taken=5, skipped=1), ARCHIVE, "acme")
    rejected = DocumentRejected(archive=ARCHIVE, path="broken.pdf", code="encrypted", message="It is encrypted.")
    await world.say(rejected, BROKEN, "acme")
    for document in MADE.documents:
        folder = f"documents/{document.document}"
        text = await blob(world, f"{folder}/text.json")
        extracted = DocumentExtracted(archive=ARCHIVE, path=document.path, text=text, pages=2, characters=99)
        await world.say(extracted, document.document, "acme")
        parts = (*document.chunks, COPY) if document.document == COPY.document else document.chunks
        stored = document.model_copy(update={"chunks": parts}).model_dump_json().encode()
        chunks = await world.blobs.put(f"{PREFIX}/{folder}/chunks.json", stored)
        data = DocumentChunked(archive=ARCHIVE, chunks=chunks, n_chunks=len(parts), tokens=99)
        await world.say(data, document.document, "acme")


async def planned(world: World) -> None:
    dropped = DroppedChunk(chunk=COPY.id, document=COPY.document, of=MADE.documents[0].chunks[0].id, similarity=1.0)
    stored = MADE.plan.model_copy(update={"dropped": (dropped,)}).model_dump_json().encode()
    plan = await world.blobs.put(f"{PREFIX}/plan.json", stored)
    data = CorpusPlanned(plan=plan, documents=4, chunks=24, held_out=6, duplicates=1, rows=24)
    await world.say(data, ARCHIVE, "acme")


async def asked(world: World, made: Archive = MADE) -> None:
    for document in MADE.documents:
        lines = [
            each.model_dump_json() + "\n" for each in (*made.examples, UNFAITHFUL) if each.document == document.document
        ]
        key = f"{PREFIX}/documents/{document.document}/examples.jsonl"
        examples = await world.blobs.put(key, "".join(lines).encode())
        data = ExamplesSynthesized(
            archive=ARCHIVE, examples=examples, generator="extractive", kept=6, rejected=1, covered=6
        )
        await world.say(data, document.document, "acme")


async def assemble_made(scratch: Path, made: Archive = MADE) -> Assembled:
    """The data set, assembled as in operation, and all its blobs."""
    blobs = MemoryBlobs()
    data = (await assemble(made, blobs, scratch)).data
    assert isinstance(data, DatasetAssembled)
    return data, blobs


async def conclude(world: World, assembled: Assembled) -> None:
    data, blobs = assembled
    for key in await blobs.list(f"{PREFIX}/dataset/"):
        await world.blobs.put(key, await blobs.get(key))
    await world.say(data, ARCHIVE, "acme")


async def whole_way(world: World, assembled: Assembled) -> DatasetAssembled:
    """From the upload to the data set."""
    for step in (uploaded, read, planned, asked):
        await step(world)
    await conclude(world, assembled)
    return assembled[0]


async def job(world: World, id: str = "ftjob-1", file: str = ARCHIVE) -> None:
    await world.say(JobCreated(model=BASE, training_file=file), id, "acme")
