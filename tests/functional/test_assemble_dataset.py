"""A data set is assembled as in operation: blobs from a store, the making in a limited process of its own."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.blobs import BlobRef
from contracts.canonical import sha256
from contracts.corpus import RowOrigin
from contracts.envelope import Event, derived_id
from contracts.events.corpus import DatasetAssembled, DatasetFailed
from contracts.ports import BlobMismatchError, BlobNotFoundError, Blobs, Complete, UnavailableError
from functions.assemble_dataset import work as assembly
from functions.assemble_dataset.core import RowSettings
from infra.adapters.memory import MemoryBlobs, MemoryControls
from infra.runtime.leases import HeldLease
from tests.children import ForkedChild
from tests.functional.embedders import nobody
from tests.leases import held
from tests.unit.assemble_dataset.archive import Archive, archive

ARCHIVE = "file-" + "2" * 32
PREFIX = f"acme/{ARCHIVE}"


async def stored(made: Archive, blobs: MemoryBlobs) -> dict[str, Any]:
    """Store what comes before assembly and return the inputs."""
    plan = await blobs.put(f"{PREFIX}/plan.json", made.plan.model_dump_json().encode())
    documents = []
    for document in made.documents:
        folder = f"{PREFIX}/documents/{document.document}"
        chunks = await blobs.put(f"{folder}/chunks.json", document.model_dump_json().encode())
        lines = "".join(example.model_dump_json() + "\n" for example in made.of(document.document)).encode()
        examples = await blobs.put(f"{folder}/examples.jsonl", lines) if lines else None
        documents.append(
            {
                "document": document.document,
                "path": document.path,
                "sha256": document.sha256,
                "chunks": chunks.model_dump(),
                "examples": examples and examples.model_dump(),
            }
        )
    listed = await blobs.put(f"{PREFIX}/dataset.documents.json", json.dumps(documents).encode())
    return {"event_id": "e1", "archive": ARCHIVE, "plan": plan.model_dump(), "listed": listed.model_dump()}


def lease(inputs: dict[str, Any], controls: MemoryControls | None = None, archive: str = ARCHIVE) -> HeldLease:
    """Return a lease on the assembly of an archive."""
    return held(f"{archive}/dataset", "acme", "assemble", inputs, controls)


def ports(blobs: Blobs, scratch: Path, complete: Complete = nobody) -> assembly.DatasetPorts:
    return assembly.DatasetPorts(blobs, ForkedChild(), scratch, complete)


async def assemble(made: Archive, blobs: MemoryBlobs, scratch: Path, **settings: Any) -> Event:
    """Return the one event, having checked its envelope and that nothing was left behind."""
    inputs = await stored(made, blobs)
    events = await assembly.work(lease(inputs), ports(blobs, scratch), RowSettings(**settings))
    assert len(events) == 1
    assert (events[0].subject, events[0].tenant, events[0].cause) == (ARCHIVE, "acme", "e1")
    assert events[0].id == derived_id(f"{ARCHIVE}/dataset", "end")
    assert not list(scratch.iterdir())
    return events[0]


async def test_documents_become_a_data_set_with_lineage_and_report(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    event = await assemble(archive(), blobs, tmp_path)
    found = event.data
    assert isinstance(found, DatasetAssembled)
    assert event.type == "dataset.assembled"
    assert (found.rows, found.held_out_rows, found.coverage, found.generator) == (107, 18, 1.0, "extractive")
    folder = f"{PREFIX}/dataset/{found.version}"
    assert found.version == found.blob.sha256 == sha256(await blobs.get(f"{folder}/rows.jsonl"))
    assert found.held_out is not None
    for ref, name, lines in (
        (found.blob, "rows.jsonl", 107),
        (found.lineage, "lineage.jsonl", 107),
        (found.held_out, "held_out.jsonl", 18),
    ):
        assert ref.key == f"{folder}/{name}"
        assert len((await blobs.get(ref.key)).splitlines()) == lines
    beside = (await blobs.get(f"{folder}/held_out.lineage.jsonl")).splitlines()
    assert [RowOrigin.model_validate_json(line).line for line in beside] == list(range(1, 19))
    report = json.loads(await blobs.get(found.report.key))
    assert (report["version"], report["splits"]["train"]["rows"]) == (found.version, 107)
    assert len(report["samples"]) == 10


async def test_the_report_has_every_member_and_document_that_was_left_out_with_its_reason(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    why = {"path": "c.pdf", "code": "no_text", "message": "It has no text."}
    taken = {"path": "a.txt", "bytes": 1, "sha256": "0", "document": "doc-1", "format": "txt"}
    skipped = {"path": "logo.png", "bytes": 1, "sha256": "", "document": None, "code": "unsupported", "message": "m"}
    members = await blobs.put(f"{PREFIX}/members.json", json.dumps([taken, skipped]).encode())
    rejected = await blobs.put(f"{PREFIX}/dataset.rejected.json", json.dumps([why]).encode())
    inputs = await stored(archive(), blobs) | {"members": members.model_dump(), "rejected": rejected.model_dump()}
    (event,) = await assembly.work(lease(inputs), ports(blobs, tmp_path), RowSettings())
    assert isinstance(event.data, DatasetAssembled)
    report = json.loads(await blobs.get(event.data.report.key))
    assert report["skipped"] == [{"path": "logo.png", "code": "unsupported", "message": "m"}]
    assert report["rejected"] == [why]


async def test_a_retry_and_shuffled_documents_say_the_same_event(tmp_path: Path) -> None:
    made = archive(asked=2)
    blobs = MemoryBlobs()
    first = await assemble(made, blobs, tmp_path)
    assert await assemble(made, blobs, tmp_path) == first
    for seed in range(2):
        documents = list(made.documents)
        random.Random(seed).shuffle(documents)
        assert await assemble(replace(made, documents=tuple(documents)), MemoryBlobs(), tmp_path) == first


async def test_the_settings_of_the_first_attempt_stay(tmp_path: Path) -> None:
    blobs, controls = MemoryBlobs(), MemoryControls()
    inputs = await stored(archive(), blobs)
    first = await assembly.work(lease(inputs, controls), ports(blobs, tmp_path), RowSettings(variants=1))
    later = await assembly.work(lease(inputs, controls), ports(blobs, tmp_path), RowSettings(variants=4))
    assert later == first


async def test_an_archive_without_held_out_rows_has_no_such_file(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    found = (await assemble(archive(held_out=0), blobs, tmp_path)).data
    assert isinstance(found, DatasetAssembled)
    assert (found.held_out, found.held_out_rows) == (None, 0)
    assert not [key for key in await blobs.list(f"{PREFIX}/dataset/") if "held_out" in key]


async def test_general_rows_come_from_their_blob(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    lines = json.dumps({"messages": turns, "line": 1}).encode() + b"\n"
    general = await blobs.put("acme/file-9/rows.jsonl", lines * 30)
    found = (await assemble(archive(), blobs, tmp_path, general=general)).data
    assert isinstance(found, DatasetAssembled)
    assert found.rows == 107 + 12
    assert (await blobs.get(found.blob.key)).count(b'"Hello"') == 12


@pytest.mark.parametrize(
    ("lost", "code", "coverage"),
    [(3, "coverage_too_low", 0.4), (5, "no_examples", 0.0)],
)
async def test_too_little_is_no_data_set(lost: int, code: str, coverage: float, tmp_path: Path) -> None:
    made = archive(documents=6, held_out=1)
    gone = {document.document for document in made.documents[:lost]}
    left = tuple(example for example in made.examples if example.document not in gone)
    blobs = MemoryBlobs()
    event = await assemble(replace(made, examples=left), blobs, tmp_path, coverage_required=True)
    assert event.type == "dataset.failed"
    assert isinstance(event.data, DatasetFailed)
    assert (event.data.code, event.data.coverage) == (code, coverage)
    assert not await blobs.list(f"{PREFIX}/dataset/")


async def test_little_coverage_is_a_data_set_with_a_warning_where_nobody_asked_for_more(tmp_path: Path) -> None:
    made = archive(documents=6, held_out=1)
    gone = {document.document for document in made.documents[:3]}
    left = tuple(example for example in made.examples if example.document not in gone)
    blobs = MemoryBlobs()
    found = (await assemble(replace(made, examples=left), blobs, tmp_path)).data
    assert isinstance(found, DatasetAssembled)
    assert found.coverage == 0.4
    (warning,) = found.warnings
    assert "training chunks have a row (40%; 50% wanted)" in warning
    assert json.loads(await blobs.get(found.report.key))["warnings"] == [warning]


async def test_nine_rows_are_too_few(tmp_path: Path) -> None:
    found = (await assemble(archive(documents=2, chunks=4, held_out=1), MemoryBlobs(), tmp_path)).data
    assert isinstance(found, DatasetFailed)
    assert (found.code, found.coverage) == ("too_few_rows", 1.0)
    assert "9 training rows; 10 are needed" in found.message


async def test_what_needs_too_much_memory_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "LIMITS", replace(assembly.LIMITS, memory_bytes=600 * 2**20))
    made = archive(documents=4, chunks=4)
    document = made.documents[0]
    huge = document.chunks[0].model_copy(update={"text": "a b " * (40 * 2**20)})
    changed = document.model_copy(update={"chunks": (huge, *document.chunks[1:])})
    found = (await assemble(replace(made, documents=(changed, *made.documents[1:])), MemoryBlobs(), tmp_path)).data
    assert isinstance(found, DatasetFailed)
    assert found.code == "too_large"


class Failing(MemoryBlobs):
    """A store whose transfers fail as told."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__()
        self.failures = list(failures)

    async def fetch(self, ref: BlobRef, path: Path) -> None:
        """Fail while failures are left."""
        if self.failures and ref.key.endswith("plan.json"):
            raise self.failures.pop(0)
        await super().fetch(ref, path)


async def test_a_damaged_transfer_is_repeated(tmp_path: Path) -> None:
    blobs = Failing(BlobMismatchError("a"), BlobMismatchError("b"))
    assert isinstance((await assemble(archive(), blobs, tmp_path)).data, DatasetAssembled)
    assert not blobs.failures


@pytest.mark.parametrize("error", [UnavailableError("s3"), BlobNotFoundError("gone")])
async def test_what_the_store_says_is_raised_as_it_is(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)):
        await assemble(archive(), Failing(error), tmp_path)
    assert not list(tmp_path.iterdir())


async def test_a_plan_that_does_not_fit_the_documents_raises(tmp_path: Path) -> None:
    made = archive()
    with pytest.raises(RuntimeError, match="the plan names 8 chunks that no document has"):
        await assemble(replace(made, documents=made.documents[1:]), MemoryBlobs(), tmp_path)


def test_five_attempts_in_vain_are_a_failure() -> None:
    claim = lease({"event_id": "e1", "archive": ARCHIVE}).claim
    (event,) = assembly.exhausted(claim, "KeyError: 'x'")
    assert isinstance(event.data, DatasetFailed)
    assert (event.data.code, event.subject) == ("assembly_failed", ARCHIVE)
    assert event.id == derived_id(f"{ARCHIVE}/dataset", "end")
