"""A corpus is planned as in operation: chunks from a store, the planning in a limited process of its own."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.canonical import sha256
from contracts.corpus import Chunk, Chunks, CorpusPlan, Span, document_id
from contracts.envelope import Event, derived_id
from contracts.events.corpus import CorpusPlanned, DatasetFailed
from contracts.ports import BlobNotFoundError, ChildFailedError, ChildResult
from functions.plan_corpus import work as planning
from functions.plan_corpus.settings import PlanSettings
from infra.adapters.memory import MemoryBlobs, MemoryDocuments
from infra.runtime.leases import HeldLease
from tests.children import ForkedChild
from tests.functional.embedders import nobody
from tests.leases import held

ARCHIVE = "file-" + "1" * 32
LISTED = f"acme/{ARCHIVE}/plan.documents.json"


Taken = tuple[HeldLease, dict[str, Any]]
"""A lease, and the list of documents that is stored beforehand."""


def lease(documents: list[dict[str, Any]], rejected: list[str]) -> Taken:
    """Return a lease on the planning of ARCHIVE."""
    inputs = {"event_id": "e1", "archive": ARCHIVE, "listed": {"key": LISTED}}
    return held(f"{ARCHIVE}/plan", "acme", "plan_corpus", inputs), {"documents": documents, "rejected": rejected}


async def stored(blobs: MemoryBlobs, name: str, n_chunks: int, marks: str = "") -> dict[str, Any]:
    """Store a document of so many chunks of words of its own, or of `marks`."""
    return await with_texts(
        blobs, name, [" ".join(f"{marks or name}{index}w{n}" for n in range(50)) for index in range(n_chunks)]
    )


async def with_texts(blobs: MemoryBlobs, name: str, texts: Sequence[str]) -> dict[str, Any]:
    """Store a document's chunks, each of a section of its own, and return the entry of the inputs."""
    sha = sha256(name.encode())
    document = document_id(ARCHIVE, sha)
    chunks = tuple(
        Chunk(
            id="chunk-" + derived_id(document, index).replace("-", ""),
            document=document,
            index=index,
            heading=f"S{index}",
            text=text,
            tokens=50,
            spans=(Span(page=1, start=1000 * index, end=1000 * index + len(text)),),
        )
        for index, text in enumerate(texts)
    )
    made = Chunks(document=document, path=f"{name}.txt", sha256=sha, chunks=chunks)
    key = f"acme/{ARCHIVE}/documents/{document}/chunks.json"
    blob = await blobs.put(key, made.model_dump_json().encode())
    return {"document": document, "chunks": blob.model_dump(mode="json")}


async def make_plan(
    blobs: MemoryBlobs, taken: Taken, scratch: Path, share: float = 0.25, rows: int = 2, child: Any = None
) -> Event:
    """Return the one verdict, having checked the envelope around it."""
    lease, listed = taken
    await blobs.put(LISTED, json.dumps(listed).encode())
    ports = planning.PlanPorts(blobs, child or ForkedChild(), scratch, MemoryDocuments(), nobody)
    settings = PlanSettings.model_construct(held_out=share, rows_per_chunk=rows)  # share 1 is beyond what may be set
    events = await planning.work(lease, ports, settings)
    assert len(events) == 1
    envelope = (events[0].id, events[0].subject, events[0].tenant, events[0].cause)
    assert envelope == (derived_id(ARCHIVE, "plan"), ARCHIVE, "acme", "e1")
    assert not list(scratch.iterdir())
    return events[0]


async def test_an_archive_is_planned_and_twice_the_same_event_in_any_order(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    documents = [await stored(blobs, name, 8) for name in "abc"]
    copy = await stored(blobs, "copy", 3, marks="b")  # all of it is in b
    taken = lease([*documents, copy], ["doc-y", "doc-x"])
    event = await make_plan(blobs, taken, tmp_path)
    found = event.data
    assert isinstance(found, CorpusPlanned)
    assert found.plan.key == f"acme/{ARCHIVE}/plan.json"
    made = CorpusPlan.model_validate_json(await blobs.get(found.plan.key))
    assert (found.documents, found.chunks, found.held_out, found.duplicates, found.rows) == (3, 24, 6, 3, 48)
    assert len({each.document for each in made.chunks}) == 3  # those of which rows are asked
    assert len(made.dropped) == 3
    assert made.rejected_documents == ("doc-x", "doc-y")
    again = lease([copy, *reversed(documents)], ["doc-x", "doc-y"])
    assert await make_plan(blobs, again, tmp_path) == event


async def test_a_setting_that_changes_between_attempts_changes_nothing(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    taken = lease([await stored(blobs, "a", 8)], [])
    assert await make_plan(blobs, taken, tmp_path, 0.25, 2) == await make_plan(blobs, taken, tmp_path, 0.5, 5)


@pytest.mark.parametrize(
    ("rejected", "sentence"),
    [([], "has no documents"), (["doc-1"], "one document was rejected"), (["doc-1", "doc-2"], "All 2 documents")],
)
async def test_an_archive_without_a_readable_document_fails(rejected: list[str], sentence: str, tmp_path: Path) -> None:
    found = (await make_plan(MemoryBlobs(), lease([], rejected), tmp_path)).data
    assert isinstance(found, DatasetFailed)
    assert found.code == "no_documents"
    assert sentence in found.message


@pytest.mark.parametrize("rejected", [["doc-1"], ["doc-1", "doc-2"]])
async def test_why_the_first_document_was_rejected_is_said(rejected: list[str], tmp_path: Path) -> None:
    (held_by, listed) = lease([], rejected)
    first = {"path": "a.pdf", "code": "encrypted", "message": "It has a password. Save it without one."}
    found = (await make_plan(MemoryBlobs(), (held_by, {**listed, "first_rejected": first}), tmp_path)).data
    assert isinstance(found, DatasetFailed)
    assert found.code == ("encrypted" if len(rejected) == 1 else "no_documents")
    assert found.message.endswith("'a.pdf': It has a password. Save it without one.")


async def test_an_archive_that_is_all_held_out_fails(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    found = (await make_plan(blobs, lease([await stored(blobs, "a", 4)], []), tmp_path, share=1)).data
    assert isinstance(found, DatasetFailed)
    assert found.code == "nothing_to_train_on"
    assert "All 4 chunks" in found.message
    assert f"acme/{ARCHIVE}/plan.json" not in await blobs.list(f"acme/{ARCHIVE}/")


async def test_what_needs_too_much_memory_is_too_complex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "LIMITS", replace(planning.LIMITS, memory_bytes=700 * 2**20))
    blobs = MemoryBlobs()
    small = lease([await stored(blobs, "a", 4)], [])
    assert isinstance((await make_plan(blobs, small, tmp_path)).data, CorpusPlanned)
    word = "x " * 2000
    chunk = {"document": "doc-1", "text": word, "tokens": 1, "spans": [{"page": 1, "start": 0, "end": 1}]}
    body = ",".join(Chunk(id=f"chunk-{n}", index=n, **chunk).model_dump_json() for n in range(50))
    huge = f'{{"document":"doc-1","path":"a","sha256":"0","chunks":[{",".join([body] * 2000)}]}}'
    blob = await blobs.put(f"acme/{ARCHIVE}/documents/doc-1/chunks.json", huge.encode())
    entry = {"document": "doc-1", "chunks": blob.model_dump(mode="json")}
    found = (await make_plan(blobs, lease([entry], []), tmp_path)).data
    assert isinstance(found, DatasetFailed)
    assert found.code == "corpus_too_complex"


async def test_a_child_that_is_killed_is_a_verdict_and_one_that_breaks_is_none(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    taken = lease([await stored(blobs, "a", 4)], [])

    async def ended(code: int) -> ChildResult:
        return ChildResult(code=code, stdout=b"", stderr="a reason")

    killed = SimpleNamespace(run=lambda *_, **__: ended(-9))
    found = (await make_plan(blobs, taken, tmp_path, child=killed)).data
    assert isinstance(found, DatasetFailed)
    assert found.code == "corpus_too_complex"
    with pytest.raises(ChildFailedError) as raised:
        await make_plan(blobs, taken, tmp_path, child=SimpleNamespace(run=lambda *_, **__: ended(1)))
    assert str(raised.value) == f"planning {ARCHIVE} ended with status 1"
    assert not list(tmp_path.iterdir())


async def test_chunks_that_are_gone_are_no_verdict_on_the_archive(tmp_path: Path) -> None:
    entry = await stored(MemoryBlobs(), "a", 4)
    with pytest.raises(BlobNotFoundError):
        await make_plan(MemoryBlobs(), lease([entry], []), tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_failed_too_often_says_why() -> None:
    (event,) = planning.exhausted(lease([], [])[0].claim, "RuntimeError: disk full")
    assert isinstance(event.data, DatasetFailed)
    assert (event.subject, event.data.code) == (ARCHIVE, "planning_failed")
    assert "disk full" in event.data.message
