"""Chunking under a lease: the text comes to scratch, a limited child cuts it, its chunks go to the store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from contracts.blobs import BlobRef
from contracts.controls import Claim, Control
from contracts.envelope import Event, derived_id, make
from contracts.events.corpus import DocumentChunked, DocumentRejected
from contracts.ports import Blobs, Child, Lease

CUT = "functions.chunk_text.cut"
MEMORY_BYTES = 2 * 2**30
SECONDS = 900.0
_TOO_COMPLEX = 3  # what cut.py exits with when memory runs out


async def work(
    lease: Lease, blobs: Blobs, child: Child, scratch: Path, tokenizer: Path, size: int, overlap: int
) -> list[Event]:
    """Return the one verdict on the document that `lease` holds: `document.chunked` or `document.rejected`.

    The control's subject is `{document}/chunks`; its inputs are `archive` (a file id), `path` (the document's name
    there), `text` (a BlobRef of `contracts.corpus.Text`) and `event_id` (what led to this). `tokenizer` is the target
    model's tokenizer.json; `size` and `overlap` are in its tokens.
    """
    control = lease.claim.control
    document = _document(control)
    folder = (scratch / f"{document}-chunks-{lease.claim.fence}").resolve()  # the child works in another folder
    folder.mkdir(parents=True, exist_ok=True)
    try:
        settings = await lease.record("chunking", {"size": size, "overlap": overlap})
        paths = {"text": folder / "text.json", "chunks": folder / "chunks.json", "tokenizer": tokenizer.resolve()}
        await blobs.fetch(BlobRef.model_validate(control.inputs["text"]), paths["text"])
        spec = folder / "spec.json"
        spec.write_text(json.dumps({**{name: str(path) for name, path in paths.items()}, **settings}))
        result = await child.run(CUT, spec, memory_bytes=MEMORY_BYTES, seconds=SECONDS)
        if result.code < 0 or result.code == _TOO_COMPLEX:
            message = "The document could not be cut into chunks within the limits of memory and time. Split it."
            return [_rejected(control, "document_too_complex", message)]
        if result.code:
            raise result.failed(f"cutting {document}")
        found = json.loads(result.stdout)
        if not found["chunks"]:
            message = "The document has no text to learn from. If it is scanned, run text recognition on it first."
            return [_rejected(control, "no_text", message)]
        archive = control.inputs["archive"]
        key = f"{control.tenant}/{archive}/documents/{document}/chunks.json"
        blob = await blobs.store(key, paths["chunks"], "application/json")
        chunked = DocumentChunked(archive=archive, chunks=blob, n_chunks=found["chunks"], tokens=found["tokens"])
        return [_event(control, chunked)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the verdict on a document whose chunking failed too often."""
    message = f"The document could not be cut into chunks, for a reason of the platform's own: {why}. Upload it again."
    return [_rejected(claim.control, "chunking_failed", message)]


def _document(control: Control) -> str:
    return control.subject.removesuffix("/chunks")


def _rejected(control: Control, code: str, message: str) -> Event:
    verdict = DocumentRejected(
        archive=control.inputs["archive"], path=control.inputs["path"], code=code, message=message
    )
    return _event(control, verdict)


def _event(control: Control, verdict: DocumentChunked | DocumentRejected) -> Event:
    document = _document(control)
    return make(
        verdict,
        subject=document,
        tenant=control.tenant,
        id=derived_id(document, "chunks"),
        cause=control.inputs["event_id"],
    )
