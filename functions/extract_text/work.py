"""Extraction under a lease: the bytes come to scratch, a limited child reads them, text or refusal is an event."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.blobs import BlobRef
from contracts.controls import Claim, Control
from contracts.envelope import Event, derived_id, make
from contracts.events.corpus import DocumentExtracted, DocumentRejected
from contracts.ports import BlobMismatchError, BlobNotFoundError, Blobs, Child, Lease
from functions.extract_text import core
from functions.extract_text.core import RefusedError

READ = "functions.extract_text.read"
MEMORY_BYTES = 768 * 2**20
"""Of address space; with the worker beside it less than 1 GiB, whatever a document does."""
SECONDS = 2000.0
"""Longer than the child gives itself, which knows whether pages are scanned."""
_TOO_COMPLEX = 3  # what read.py exits with when memory runs out
_FETCHES = 3  # a transfer may be damaged; what is stored stays damaged


async def work(lease: Lease, blobs: Blobs, child: Child, scratch: Path) -> list[Event]:
    """Return `document.extracted` or `document.rejected` of the document that `lease` holds.

    The control's subject is the document's id; its inputs are `archive`, `path` (its name there), `format`, `sha256`,
    `blob` (a BlobRef of its bytes) and `event_id` (what led here).
    """
    control = lease.claim.control
    # Another machine may have other programs: whoever reads this document again must see the same.
    ocr = await lease.record("ocr", shutil.which("tesseract") is not None)
    folder = (scratch / f"{control.subject}-{lease.claim.fence}").resolve()  # the child works in another folder
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return [_event(control, await _read(control, blobs, child, folder, ocr))]
    except RefusedError as refusal:
        return [_event(control, core.rejected(control.inputs, refusal))]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _event(control: Control, ending: DocumentExtracted | DocumentRejected) -> Event:
    return make(
        ending,
        subject=control.subject,
        tenant=control.tenant,
        id=derived_id(control.subject, "text"),
        cause=control.inputs["event_id"],
    )


async def _read(control: Control, blobs: Blobs, child: Child, folder: Path, ocr: bool) -> DocumentExtracted:
    inputs, tenant, document = control.inputs, control.tenant, control.subject
    archive, blob = inputs["archive"], BlobRef.model_validate(inputs["blob"])
    refusal = core.blob_refusal(tenant, archive, blob)
    if refusal is not None:
        raise refusal
    content, output, spec = folder / "content", folder / "text.json", folder / "spec.json"
    await _fetch(blobs, blob, content)
    if blob.key.startswith(f"{tenant}/ingest/"):  # from now on the bytes go with the archive
        await blobs.store(core.content_key(tenant, archive, document), content, blob.media_type)
    named = {name: inputs[name] for name in ("path", "format", "sha256")}
    spec.write_text(
        json.dumps({**named, "document": document, "input": str(content), "output": str(output), "ocr": ocr})
    )
    result = await child.run(READ, spec, memory_bytes=MEMORY_BYTES, seconds=SECONDS)
    if result.code < 0 or result.code == _TOO_COMPLEX:
        message = "The document could not be read within the limits of memory and time. Split it, or save it again."
        raise RefusedError("document_too_complex", message)
    if result.code:
        raise result.failed(f"reading {document}")
    found: Mapping[str, Any] = json.loads(result.stdout)
    if not found["ok"]:
        raise RefusedError(found["code"], found["message"], found["page"])
    text = await blobs.store(core.text_key(tenant, archive, document), output, "application/json")
    return core.extracted(inputs, found, text)


async def _fetch(blobs: Blobs, blob: BlobRef, path: Path) -> None:
    """Bring the bytes to `path`, or refuse the document."""
    for _ in range(_FETCHES):
        try:
            await blobs.fetch(blob, path)
        except BlobNotFoundError as error:
            message = "The document's bytes are not in the store: they were deleted, or never uploaded."
            raise RefusedError("blob_not_found", message) from error
        except BlobMismatchError:
            continue
        return
    message = "The document's stored bytes do not have the stated length and SHA-256. Upload it again."
    raise RefusedError("blob_mismatch", message)


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the ending of a document whose extraction failed too often; `why` may quote it, so it is not said."""
    message = "The document could not be read, for a reason of the platform's own that its log has. Upload it again."
    return [_event(claim.control, core.rejected(claim.control.inputs, RefusedError("extraction_failed", message)))]
