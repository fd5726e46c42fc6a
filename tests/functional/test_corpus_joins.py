"""P2, P5: whichever document ends last moves its archive on, whatever the order of events, and once."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest

from contracts.blobs import BlobRef
from contracts.envelope import Event, derived_id, make
from contracts.events import Payload
from contracts.events.corpus import (
    CorpusPlanned,
    DocumentChunked,
    DocumentExtracted,
    DocumentRejected,
    ExamplesFailed,
    ExamplesSynthesized,
    ZipExtracted,
    ZipUploaded,
)
from contracts.events.files import FileDeleted
from functions.assemble_dataset import handler as assemble
from functions.plan_corpus import handler as plan
from infra.adapters.memory import MemoryBlobs, MemoryControls, MemoryDocuments

ARCHIVE = "file-1"


def blob(name: str) -> BlobRef:
    return BlobRef(key=f"acme/{ARCHIVE}/{name}", sha256="0" * 64, bytes=1)


def event(data: Payload, subject: str = ARCHIVE, at: int = 1) -> Event:
    made = make(data, subject=subject, tenant="acme", id=derived_id(subject, type(data).__name__))
    return replace(made, at=at)


def chunked(document: str) -> Event:
    return event(DocumentChunked(archive=ARCHIVE, chunks=blob(f"{document}/chunks"), n_chunks=2, tokens=9), document)


UPLOADED = event(ZipUploaded(blob=blob("content"), filename="a.zip", purpose="fine-tune"))
EXTRACTED = event(ZipExtracted(manifest=blob("members"), taken=3, skipped=0))
REJECTED = event(DocumentRejected(archive=ARCHIVE, path="c.pdf", code="no_text", message="m"), "doc-3")
PLANNED = event(CorpusPlanned(plan=blob("plan"), documents=2, chunks=4, held_out=1, duplicates=0, rows=4))
MADE = event(
    ExamplesSynthesized(
        archive=ARCHIVE, examples=blob("doc-1/examples"), generator="extractive", kept=2, rejected=0, covered=2
    ),
    "doc-1",
)
FAILED = event(ExamplesFailed(archive=ARCHIVE, code="no_examples", message="m"), "doc-2")


ENDED = [EXTRACTED, chunked("doc-1"), chunked("doc-2"), REJECTED]


@pytest.mark.parametrize("order", list(itertools.permutations(ENDED)))
async def test_the_last_document_to_end_opens_the_plan(order: tuple[Event, ...]) -> None:
    blobs, documents, controls, rung = MemoryBlobs(), MemoryDocuments(), MemoryControls(), list[str]()
    await documents.apply(UPLOADED)
    for each in order[:-1]:
        await plan.on_document_ended(each, blobs, documents, controls, rung.append)
        await plan.on_document_ended(each, blobs, documents, controls, rung.append)  # delivered twice
    assert not rung
    await plan.on_document_ended(order[-1], blobs, documents, controls, rung.append)
    assert rung == ["plan_corpus"]
    opened = controls.controls[f"{ARCHIVE}/plan"]
    assert (opened.tenant, opened.stage, opened.inputs["archive"]) == ("acme", "plan_corpus", ARCHIVE)
    listed = json.loads(await blobs.get(opened.inputs["listed"]["key"]))
    assert [each["document"] for each in listed["documents"]] == ["doc-1", "doc-2"]
    assert listed["rejected"] == ["doc-3"]


async def test_why_documents_were_rejected_goes_along_to_the_plan_and_to_the_report() -> None:
    blobs, documents, controls, rung = MemoryBlobs(), MemoryDocuments(), MemoryControls(), list[str]()
    for each in (UPLOADED, EXTRACTED, chunked("doc-1"), chunked("doc-2"), REJECTED):
        await plan.on_document_ended(each, blobs, documents, controls, rung.append)
    listed = json.loads(await blobs.get(controls.controls[f"{ARCHIVE}/plan"].inputs["listed"]["key"]))
    assert (listed["first_rejected"]["path"], listed["first_rejected"]["message"]) == ("c.pdf", "m")
    for each in (PLANNED, MADE, FAILED):
        await assemble.on_examples_ended(each, blobs, documents, controls, rung.append)
    inputs = controls.controls[f"{ARCHIVE}/dataset"].inputs
    assert inputs["members"] == blob("members").model_dump()
    told = json.loads(await blobs.get(inputs["rejected"]["key"]))
    assert told == [{"path": "c.pdf", "code": "no_text", "message": "m"}]


@pytest.mark.parametrize("order", list(itertools.permutations([PLANNED, MADE, FAILED])))
async def test_the_last_rows_to_be_made_open_the_assembly(order: tuple[Event, ...]) -> None:
    blobs, documents, controls, rung = MemoryBlobs(), MemoryDocuments(), MemoryControls(), list[str]()
    for each in (UPLOADED, EXTRACTED, chunked("doc-1"), chunked("doc-2"), REJECTED):
        await documents.apply(each)
    for each in order:
        assert not rung
        await assemble.on_examples_ended(each, blobs, documents, controls, rung.append)
    assert rung == ["assemble_dataset"]
    opened = controls.controls[f"{ARCHIVE}/dataset"]
    assert opened.inputs["plan"]["key"] == f"acme/{ARCHIVE}/plan"
    listed = json.loads(await blobs.get(opened.inputs["listed"]["key"]))
    assert [each["examples"] is None for each in listed] == [False, True]


async def test_ten_thousand_documents_make_no_control_document_large() -> None:
    blobs, documents, controls, rung = MemoryBlobs(), MemoryDocuments(), MemoryControls(), list[str]()
    many = [chunked(f"doc-{number:032d}") for number in range(10_000)]
    for each in (UPLOADED, event(ZipExtracted(manifest=blob("members"), taken=len(many), skipped=0)), *many):
        await documents.apply(each)
    await plan.settle(ARCHIVE, blobs, documents, controls, rung.append)
    for each in many:
        made = MADE.data.model_copy(update={"examples": blob(f"{each.subject}/examples")})
        await documents.apply(event(made, each.subject))
    await documents.apply(event(PLANNED.data.model_copy(update={"documents": len(many)})))
    await assemble.settle(ARCHIVE, blobs, documents, controls, rung.append)
    assert rung == ["plan_corpus", "assemble_dataset"]
    for control in controls.controls.values():
        assert len(json.dumps(control.inputs)) < 2000
        assert len(await blobs.get(control.inputs["listed"]["key"])) > 2**20


async def test_a_deleted_archive_is_left_alone() -> None:
    documents, controls, rung = MemoryDocuments(), MemoryControls(), list[str]()
    for each in (UPLOADED, EXTRACTED, event(FileDeleted()), chunked("doc-1"), chunked("doc-2")):
        await documents.apply(each)
    await plan.on_document_ended(REJECTED, MemoryBlobs(), documents, controls, rung.append)
    assert not controls.controls


async def test_text_alone_does_not_end_a_document() -> None:
    documents, controls, rung = MemoryDocuments(), MemoryControls(), list[str]()
    text = DocumentExtracted(archive=ARCHIVE, path="a", text=blob("text"), pages=1, characters=5)
    for each in (UPLOADED, event(text, "doc-2"), chunked("doc-1"), REJECTED):
        await documents.apply(each)
    await plan.on_document_ended(EXTRACTED, MemoryBlobs(), documents, controls, rung.append)
    assert not rung
