"""Validation under a lease: the bytes come to scratch, a limited child reads them, the verdict is an event."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.blobs import BlobRef
from contracts.controls import Claim, Control
from contracts.envelope import Event
from contracts.events import Payload
from contracts.events.files import FileRejected, FileUploaded, FileValidated, RowError
from contracts.formats import HEAD
from contracts.ports import Blobs, Child, Lease
from contracts.wire.batches import PURPOSE
from functions._shared.stage import ChildStage, Limits, event_of, run_stage
from functions._shared.uploaded import UnusableBlobError, bring, own_key
from functions.validate_file.core import handed_on

CHECK = "functions.validate_file.check"
LIMITS = Limits(memory_bytes=2 * 2**30, seconds=1800.0)
_TOO_COMPLEX = FileRejected(
    code="file_too_complex",
    message="The file could not be read within the limits of memory and time. Split it, or make its rows simpler.",
    param="file",
)


async def work(lease: Lease, blobs: Blobs, child: Child, scratch: Path) -> list[Event]:
    """Return the one verdict on the file that `lease` holds: `file.validated` or `file.rejected`.

    A file of another system may turn out to hold documents: then it is said once more, as what it is.
    """
    return [_event(lease.claim.control, await run_stage(lease, blobs, child, scratch, _verdict))]


def _event(control: Control, verdict: Payload) -> Event:
    name = "verdict" if isinstance(verdict, FileValidated | FileRejected) else "documents"
    return event_of(control, verdict, control.subject, name)


async def _verdict(stage: ChildStage) -> Payload:
    tenant, file, folder, blobs = stage.control.tenant, stage.control.subject, stage.folder, stage.blobs
    uploaded, content = FileUploaded.model_validate(stage.control.inputs["uploaded"]), folder / "content"
    try:
        blob = await bring(blobs, tenant, file, uploaded.blob, content, own_key(tenant, file))
    except UnusableBlobError as error:
        return FileRejected(code=error.code, message=str(error), param=error.param)
    documents = None
    if uploaded.purpose != PURPOSE:
        documents = await asyncio.to_thread(lambda: handed_on(_head(content), uploaded, blob))
    if documents is not None:
        return documents
    rows, errors = folder / "rows.jsonl", folder / "errors.jsonl"
    spec = {"input": content, "rows": rows, "errors": errors, "purpose": uploaded.purpose}
    found = await stage.run(CHECK, spec, LIMITS, f"checking {file}", _TOO_COMPLEX)
    prefix = f"{tenant}/{file}"
    if found.pop("ok"):
        stored = await blobs.store(f"{prefix}/rows.jsonl", rows, "application/jsonl")
        return FileValidated(**found, blob=stored)
    listed = await blobs.store(f"{prefix}/errors.jsonl", errors, "application/jsonl") if found["n_errors"] else None
    return _rejected(found, listed)


def _head(path: Path) -> bytes:
    with path.open("rb") as content:
        return content.read(HEAD)


def _rejected(found: Mapping[str, Any], listed: BlobRef | None) -> FileRejected:
    errors = tuple(RowError(**error) for error in found["errors"])
    return FileRejected(**{**found, "errors": errors}, param="file", errors_blob=listed)


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the verdict on a file whose validation failed too often."""
    message = f"The file could not be checked, for a reason of the platform's own: {why}. Upload it again."
    verdict = FileRejected(code="validation_failed", message=message, param="file")
    return [_event(claim.control, verdict)]
