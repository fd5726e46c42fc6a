"""Extraction under a lease: the bytes come to scratch, a limited child reads them, text or refusal is an event."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from contracts.blobs import BlobRef
from contracts.controls import Claim
from contracts.envelope import Event
from contracts.events import Payload
from contracts.ports import Blobs, Child, Lease
from functions._shared.stage import ChildStage, Limits, event_of, run_stage
from functions._shared.uploaded import UnusableBlobError, bring
from functions.extract_text import core
from functions.extract_text.core import UnreadableError

READ = "functions.extract_text.read"
LIMITS = Limits(memory_bytes=768 * 2**20, seconds=2000.0)
"""With the worker beside it less than 1 GiB, whatever a document does; longer than the child gives itself, which knows
whether pages are scanned."""
_TOO_COMPLEX = UnreadableError(
    "document_too_complex",
    "The document could not be read within the limits of memory and time. Split it, or save it again.",
)


async def work(lease: Lease, blobs: Blobs, child: Child, scratch: Path) -> list[Event]:
    """Return `document.extracted` or `document.rejected` of the document that `lease` holds.

    The control's subject is the document's id; its inputs are `archive`, `path` (its name there), `format`, `sha256`,
    `blob` (a BlobRef of its bytes) and `event_id` (what led here).
    """
    control = lease.claim.control
    # Another machine may have other programs: whoever reads this document again must see the same.
    ocr = await lease.record("ocr", shutil.which("tesseract") is not None)
    ending = await run_stage(lease, blobs, child, scratch, partial(_read, ocr=ocr))
    return [event_of(control, ending, control.subject, "text")]


async def _read(stage: ChildStage, ocr: bool) -> Payload:
    inputs, tenant, document = stage.control.inputs, stage.control.tenant, stage.control.subject
    archive, blob = inputs["archive"], BlobRef.model_validate(inputs["blob"])
    content, output = stage.folder / "content", stage.folder / "text.json"
    try:
        await bring(stage.blobs, tenant, archive, blob, content, core.content_key(tenant, archive, document))
    except UnusableBlobError as error:
        return core.rejected(inputs, core.blob_refusal(tenant, error.code))
    named = {name: inputs[name] for name in ("path", "format", "sha256")}
    spec = {**named, "document": document, "input": content, "output": output, "ocr": ocr}
    beyond = core.rejected(inputs, _TOO_COMPLEX)
    found = await stage.run(READ, spec, LIMITS, f"reading {document}", beyond)
    if not found["ok"]:
        return core.rejected(inputs, UnreadableError(found["code"], found["message"], found["page"]))
    text = await stage.blobs.store(core.text_key(tenant, archive, document), output, "application/json")
    return core.extracted(inputs, found, text)


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the ending of a document whose extraction failed too often; `why` may quote it, so it is not said."""
    message = "The document could not be read, for a reason of the platform's own that its log has. Upload it again."
    ending = core.rejected(claim.control.inputs, UnreadableError("extraction_failed", message))
    return [event_of(claim.control, ending, claim.subject, "text")]
