"""Chunking under a lease: the text comes to scratch, a limited child cuts it, its chunks go to the store."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from contracts.blobs import BlobRef
from contracts.controls import Claim, Control
from contracts.envelope import Event
from contracts.events import Payload
from contracts.events.corpus import DocumentChunked, DocumentRejected
from contracts.ports import Blobs, Child, Lease
from functions._shared.stage import ChildStage, Limits, event_of, run_stage

CUT = "functions.chunk_text.cut"
LIMITS = Limits(memory_bytes=2 * 2**30, seconds=900.0)


async def work(
    lease: Lease, blobs: Blobs, child: Child, scratch: Path, tokenizer: Path, size: int, overlap: int
) -> list[Event]:
    """Return the one verdict on the document that `lease` holds: `document.chunked` or `document.rejected`.

    The control's subject is `{document}/chunks`; its inputs are `archive` (a file id), `path` (the document's name
    there), `text` (a BlobRef of `contracts.corpus.Text`) and `event_id` (what led to this). `tokenizer` is the target
    model's tokenizer.json; `size` and `overlap` are in its tokens.
    """
    settings = {"tokenizer": tokenizer.resolve(), **await lease.record("chunking", {"size": size, "overlap": overlap})}
    verdict = await run_stage(lease, blobs, child, scratch, partial(_cut, settings=settings))
    return [_event(lease.claim.control, verdict)]


async def _cut(stage: ChildStage, settings: dict[str, object]) -> Payload:
    control, document, chunks = stage.control, _document(stage.control), stage.folder / "chunks.json"
    text = await stage.fetch(BlobRef.model_validate(control.inputs["text"]), "text.json")
    message = "The document could not be cut into chunks within the limits of memory and time. Split it."
    beyond = _rejected(control, "document_too_complex", message)
    spec = {"text": text, "chunks": chunks, **settings}
    found = await stage.run(CUT, spec, LIMITS, f"cutting {document}", beyond)
    if not found["chunks"]:
        message = "The document has no text to learn from. If it is scanned, run text recognition on it first."
        return _rejected(control, "no_text", message)
    archive = control.inputs["archive"]
    key = f"{control.tenant}/{archive}/documents/{document}/chunks.json"
    blob = await stage.blobs.store(key, chunks, "application/json")
    return DocumentChunked(archive=archive, chunks=blob, n_chunks=found["chunks"], tokens=found["tokens"])


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the verdict on a document whose chunking failed too often."""
    message = f"The document could not be cut into chunks, for a reason of the platform's own: {why}. Upload it again."
    return [_event(claim.control, _rejected(claim.control, "chunking_failed", message))]


def _document(control: Control) -> str:
    return control.subject.removesuffix("/chunks")


def _rejected(control: Control, code: str, message: str) -> DocumentRejected:
    inputs = control.inputs
    return DocumentRejected(archive=inputs["archive"], path=inputs["path"], code=code, message=message)


def _event(control: Control, verdict: Payload) -> Event:
    document = _document(control)
    return event_of(control, verdict, document, "chunks", subject=document)
