"""A document is read as in operation: bytes from a store, a child with limits, its ending an event."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.blobs import BlobRef
from contracts.canonical import sha256
from contracts.corpus import Member, Text, document_id, text_at
from contracts.envelope import derived_id, make
from contracts.events.corpus import DocumentExtracted, DocumentRejected, DocumentUploaded, ZipExtracted, ZipUploaded
from contracts.events.files import FileDeleted
from contracts.ports import AbandonedError
from functions.extract_text import core
from functions.extract_text import work as extraction
from functions.extract_text.handler import on_document_uploaded, on_zip_extracted
from infra.adapters.memory import MemoryBlobs, MemoryDocuments
from infra.runtime.deleted_files import ErasingBlobs
from infra.runtime.leases import HeldLease
from tests.children import ForkedChild
from tests.leases import Opened, held
from tests.unit.extract_text.documents import (
    LOOPS,
    entity_bomb,
    expected,
    handbook,
    lines_pdf,
    ole,
    scanned_pdf,
    word,
    word_bomb,
)

FILE = "file-" + "1" * 32


def lease(blob: BlobRef, format: str, **recorded: Any) -> HeldLease:
    """Return a lease on the extraction of the document whose bytes lie in `blob`."""
    inputs = core.document_inputs(FILE, f"manuals/a.{format}", format, blob, "e1")
    return held(document_id(FILE, blob.sha256), "acme", "extract_text", inputs, recorded=recorded)


async def stored(blobs: MemoryBlobs, data: bytes) -> BlobRef:
    """Store a document's bytes where a member of the archive lies."""
    return await blobs.put(core.content_key("acme", FILE, document_id(FILE, sha256(data))), data)


async def extract(
    blobs: MemoryBlobs, blob: BlobRef, format: str, scratch: Path, **recorded: Any
) -> DocumentExtracted | DocumentRejected:
    """Return the document's ending, having checked the envelope around it and that nothing is left behind."""
    (event,) = await extraction.work(lease(blob, format, **recorded), blobs, ForkedChild(threads=1), scratch)
    document = document_id(FILE, blob.sha256)
    assert (event.id, event.subject, event.tenant) == (derived_id(document, "text"), document, "acme")
    assert event.cause == "e1"
    assert not list(scratch.iterdir())
    assert isinstance(event.data, DocumentExtracted | DocumentRejected)
    assert (event.data.archive, event.data.path) == (FILE, f"manuals/a.{format}")
    return event.data


async def test_a_pdf_becomes_text_whose_spans_lead_to_its_pages_and_twice_the_same(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    blob = await stored(blobs, handbook(3))
    found = await extract(blobs, blob, "pdf", tmp_path)
    assert isinstance(found, DocumentExtracted)
    document = document_id(FILE, blob.sha256)
    assert found.text.key == f"acme/{FILE}/documents/{document}/text.json"
    text = Text.model_validate_json(await blobs.get(found.text.key))
    assert (text.document, text.path, text.format, text.sha256) == (document, "manuals/a.pdf", "pdf", blob.sha256)
    assert [(each.span.page, each.kind, each.level, text_at(text.pages, [each.span])) for each in text.elements] == [
        (page, *element) for page in (1, 2, 3) for element in expected(page)
    ]
    assert (found.pages, found.characters) == (3, sum(len(page.text) for page in text.pages))
    assert await extract(blobs, blob, "pdf", tmp_path) == found


@pytest.mark.parametrize(
    ("format", "data", "elements"),
    [
        ("docx", word(), 7),
        ("html", b"<h1>Handbook</h1><p>The device keeps a record.</p>", 2),
        ("md", b"# Handbook\n\nThe device keeps a record.\n\n- one\n- two\n", 4),
        ("txt", b"The device keeps a record.\n\nIt does.\n", 2),
        ("csv", b"name,weight\nA1,3\nA2,4\n", 2),
        ("json", b'[{"name": "A1"}, {"name": "A2"}]', 2),
        ("jsonl", b'{"name": "A1"}\n{"name": "A2"}\n{"name": "A3"}\n', 3),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_formats_without_pages_have_one(format: str, data: bytes, elements: int, tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    found = await extract(blobs, await stored(blobs, data), format, tmp_path)
    assert isinstance(found, DocumentExtracted)
    text = Text.model_validate_json(await blobs.get(found.text.key))
    assert (found.pages, text.paged, len(text.elements)) == (1, False, elements)
    assert all(text_at(text.pages, [each.span]) for each in text.elements)


async def test_pages_that_cannot_be_read_are_reported_one_by_one(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    blob = await stored(blobs, scanned_pdf("Hello", "The second page has text."))
    found = await extract(blobs, blob, "pdf", tmp_path, ocr=False)
    assert isinstance(found, DocumentExtracted)
    assert [(problem.page, problem.code) for problem in found.problems] == [(1, "scanned_page")]


async def test_a_document_of_scanned_pages_alone_is_rejected_with_what_to_do(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    found = await extract(blobs, await stored(blobs, scanned_pdf("Hello")), "pdf", tmp_path, ocr=False)
    assert isinstance(found, DocumentRejected)
    assert (found.code, found.page) == ("no_text", 1)
    assert "Install tesseract" in found.message


HOSTILE = {
    **{f"loop of {name}": ("pdf", data, {"no_text", "document_too_complex"}) for name, data in LOOPS.items()},
    "password": ("pdf", lines_pdf(["x"], password="x"), {"encrypted"}),
    "cut off": ("pdf", handbook(1)[:900], {"broken_document"}),
    "entities": ("docx", entity_bomb(), {"xml_doctype"}),
    "entities in UTF-16": ("docx", entity_bomb("utf-16"), {"xml_doctype"}),
    "word password": ("docx", ole(), {"encrypted"}),
    "word cut off": ("docx", word()[:-200], {"broken_document"}),
    "no word": ("docx", b"PK\x03\x04 nothing", {"broken_document"}),
    "columns": ("csv", b"," * 10**6 + b"\n" + b"," * 10**6, {"document_too_complex"}),
    "deep json": ("json", b"[" * 10**6, {"document_too_complex"}),
    "deep html": ("html", b"<div>" * 10**5 + b"x" + b"</div>" * 10**5, {"no_text", "document_too_complex"}),
    "long": ("txt", b"word " * (5 * 10**6), {"document_too_complex"}),
    "rows": ("csv", b"a\n" + b"b\n" * 300_000, {"document_too_complex"}),
    "binary": ("txt", bytes(range(256)) * 10, {"broken_document"}),
    "format": ("exe", b"MZ", {"unsupported_format"}),
    "blank": ("txt", b" \n" * 10, {"no_text"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_document_is_rejected_with_a_code_in_time(name: str, tmp_path: Path) -> None:
    format, data, codes = HOSTILE[name]
    blobs = MemoryBlobs()
    began = time.perf_counter()
    found = await extract(blobs, await stored(blobs, data), format, tmp_path)
    assert isinstance(found, DocumentRejected)
    assert found.code in codes
    assert "/etc" not in found.message
    assert time.perf_counter() - began < 30
    assert extraction.LIMITS.memory_bytes <= 2**30  # of address space, so of memory, too


@pytest.mark.slow
async def test_a_word_document_that_unpacks_to_too_much_is_rejected_unread(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    found = await extract(blobs, await stored(blobs, word_bomb()), "docx", tmp_path)
    assert isinstance(found, DocumentRejected)
    assert (found.code, "256 MiB" in found.message) == ("document_too_complex", True)


async def test_a_reader_that_takes_too_long_is_ended_and_its_document_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "LIMITS", replace(extraction.LIMITS, seconds=1e-4))
    blobs = MemoryBlobs()
    found = await extract(blobs, await stored(blobs, word()), "docx", tmp_path)
    assert isinstance(found, DocumentRejected)
    assert found.code == "document_too_complex"


async def test_a_document_of_the_ingest_folder_is_copied_under_its_archive(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    blob = await blobs.put("acme/ingest/mine/a.txt", b"The device keeps a record.")
    assert isinstance(await extract(blobs, blob, "txt", tmp_path), DocumentExtracted)
    assert (
        await blobs.get(core.content_key("acme", FILE, document_id(FILE, blob.sha256))) == b"The device keeps a record."
    )


async def test_bytes_that_are_foreign_missing_or_others_are_refused(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    foreign = BlobRef(key=f"other/{FILE}/content", sha256=sha256(b"a"), bytes=1)
    missing = BlobRef(key=f"acme/{FILE}/content", sha256=sha256(b"a"), bytes=1)
    found = [await extract(blobs, foreign, "txt", tmp_path), await extract(blobs, missing, "txt", tmp_path)]
    await blobs.put(missing.key, b"b")
    found.append(await extract(blobs, missing, "txt", tmp_path))
    codes = [each.code for each in found if isinstance(each, DocumentRejected)]
    assert codes == ["foreign_blob", "blob_not_found", "blob_mismatch"]


async def test_whether_pages_are_recognised_is_decided_once(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    blob = await stored(blobs, b"The device keeps a record.")
    taken = lease(blob, "txt")
    await extraction.work(taken, blobs, ForkedChild(threads=1), tmp_path)
    assert (await taken.refresh()).recorded in ({"ocr": True}, {"ocr": False})


def test_what_failed_too_often_is_rejected_without_quoting_the_document() -> None:
    blob = BlobRef(key=f"acme/{FILE}/content", sha256=sha256(b"a"), bytes=1)
    (event,) = extraction.exhausted(lease(blob, "txt").claim, "ValueError: their words")
    assert isinstance(event.data, DocumentRejected)
    assert event.data.code == "extraction_failed"
    assert "their words" not in event.data.message


async def test_every_member_that_was_taken_is_opened_and_no_other() -> None:
    blobs, opened = MemoryBlobs(), Opened()
    taken, hashed = document_id(FILE, "a" * 64), "a" * 64
    members = [
        Member(path="in.zip/a.pdf", bytes=7, sha256=hashed, document=taken, format="pdf"),
        Member(path="b.exe", bytes=7, sha256="b" * 64, code="unsupported", message="It is none."),
    ]
    manifest = await blobs.put(
        f"acme/{FILE}/members.json", json.dumps([member.model_dump() for member in members]).encode()
    )
    data = ZipExtracted(manifest=manifest, taken=1, skipped=1)
    event = make(data, subject=FILE, tenant="acme", id="e1")
    await on_zip_extracted(event, blobs, opened.controls, opened.wake)
    blob = BlobRef(key=f"acme/{FILE}/documents/{taken}/content", sha256=hashed, bytes=7)
    inputs = core.document_inputs(FILE, "in.zip/a.pdf", "pdf", blob, "e1")
    assert opened.inputs == {(taken, "acme", "extract_text"): inputs}
    assert opened.woken == [("extract_text", [taken])]


async def test_an_archive_that_was_deleted_meanwhile_opens_nothing() -> None:
    documents, opened = MemoryDocuments(), Opened()
    content = BlobRef(key=f"acme/{FILE}/content", sha256="0" * 64, bytes=1)
    uploaded = ZipUploaded(blob=content, filename="a.zip", purpose="fine-tune")
    for data in (uploaded, FileDeleted()):
        await documents.apply(make(data, subject=FILE, tenant="acme", id=type(data).__name__))
    manifest = BlobRef(key=f"acme/{FILE}/members.json", sha256="0" * 64, bytes=1)
    event = make(ZipExtracted(manifest=manifest, taken=1, skipped=0), subject=FILE, tenant="acme", id="e1")
    with pytest.raises(AbandonedError):
        await on_zip_extracted(event, ErasingBlobs(MemoryBlobs(), documents), opened.controls, opened.wake)
    assert (opened.inputs, opened.woken) == ({}, [])


@pytest.mark.parametrize(("purpose", "count"), [("fine-tune", 1), ("embedding", 0), ("ingestion", 0)])
async def test_a_document_that_came_alone_is_opened_if_rows_are_wanted(purpose: str, count: int) -> None:
    opened = Opened()
    blob = BlobRef(key=f"acme/{FILE}/content", sha256="c" * 64, bytes=5)
    data = DocumentUploaded(blob=blob, filename="a.pdf", purpose=purpose, format="pdf")
    event = make(data, subject=FILE, tenant="acme", id="e2")
    await on_document_uploaded(event, opened.controls, opened.wake)
    inputs = core.document_inputs(FILE, "a.pdf", "pdf", blob, "e2")
    assert [*opened.inputs.items()] == [((document_id(FILE, "c" * 64), "acme", "extract_text"), inputs)] * count
    assert opened.woken == [("extract_text", [document_id(FILE, "c" * 64)])] * count


async def test_a_hundred_pages_are_read_within_seconds_and_pages_per_second_are_shown(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    blob = await stored(blobs, handbook(100))
    before, began = os.times(), time.perf_counter()
    found = await extract(blobs, blob, "pdf", tmp_path)
    seconds, after = time.perf_counter() - began, os.times()
    assert isinstance(found, DocumentExtracted)
    assert found.pages == 100
    used = after.children_user + after.children_system - before.children_user - before.children_system
    print(f"{100 / seconds:.0f} pages/s, start included; {used:.2f} s of processor")
    assert used < 10
