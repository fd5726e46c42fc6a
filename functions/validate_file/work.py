"""Validation under a lease: the bytes come to scratch, a limited child reads them, the verdict is an event."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

from contracts.blobs import BlobRef
from contracts.controls import Claim, Control
from contracts.envelope import Event, derived_id, make
from contracts.events.corpus import DocumentUploaded, ZipUploaded
from contracts.events.files import FileRejected, FileUploaded, FileValidated, RowError
from contracts.formats import HEAD
from contracts.ports import BlobMismatchError, BlobNotFoundError, Blobs, Child, Lease
from functions.validate_file.core import blob_refusal, handed_on, own_key

Verdict = FileValidated | FileRejected | ZipUploaded | DocumentUploaded

CHECK = "functions.validate_file.check"
MEMORY_BYTES = 2 * 2**30
SECONDS = 1800.0
_TOO_COMPLEX = 3  # what check.py exits with when memory runs out
_FETCHES = 3  # a transfer may be damaged; what is stored stays damaged


async def work(lease: Lease, blobs: Blobs, child: Child, scratch: Path) -> list[Event]:
    """Return the one verdict on the file that `lease` holds: `file.validated` or `file.rejected`.

    A file of another system may turn out to hold documents: then it is said once more, as what it is.
    """
    control = lease.claim.control
    uploaded = FileUploaded.model_validate(control.inputs["uploaded"])
    folder = (scratch / f"{control.subject}-{lease.claim.fence}").resolve()  # the child works in another folder
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return [_event(control, await _verdict(control.tenant, control.subject, uploaded, blobs, child, folder))]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _event(control: Control, verdict: Verdict) -> Event:
    name = "verdict" if isinstance(verdict, FileValidated | FileRejected) else "documents"
    return make(
        verdict,
        subject=control.subject,
        tenant=control.tenant,
        id=derived_id(control.subject, name),
        cause=control.inputs["event_id"],
    )


async def _verdict(
    tenant: str, file: str, uploaded: FileUploaded, blobs: Blobs, child: Child, scratch: Path
) -> Verdict:
    refusal = blob_refusal(tenant, file, uploaded.blob)
    if refusal is not None:
        return refusal
    content = scratch / "content"
    missing = await _fetch(blobs, uploaded.blob, content)
    if missing is not None:
        return missing
    blob = uploaded.blob
    if blob.key.startswith(f"{tenant}/ingest/"):  # from now on the bytes are the file's own
        blob = await blobs.store(own_key(tenant, file), content, blob.media_type)
    documents = await asyncio.to_thread(lambda: handed_on(_head(content), uploaded, blob))
    if documents is not None:
        return documents
    paths = {"input": content, "rows": scratch / "rows.jsonl", "errors": scratch / "errors.jsonl"}
    spec = scratch / "spec.json"
    spec.write_text(json.dumps({name: str(path) for name, path in paths.items()}))
    result = await child.run(CHECK, spec, memory_bytes=MEMORY_BYTES, seconds=SECONDS)
    if result.code < 0 or result.code == _TOO_COMPLEX:
        message = "The file could not be read within the limits of memory and time. Split it, or make its rows simpler."
        return FileRejected(code="file_too_complex", message=message, param="file")
    if result.code:
        raise result.failed(f"checking {file}")
    found = json.loads(result.stdout)
    prefix = f"{tenant}/{file}"
    if found["ok"]:
        blob = await blobs.store(f"{prefix}/rows.jsonl", paths["rows"], "application/jsonl")
        return FileValidated(**{name: value for name, value in found.items() if name != "ok"}, blob=blob)
    return await _rejected(found, prefix, paths["errors"], blobs)


def _head(path: Path) -> bytes:
    with path.open("rb") as content:
        return content.read(HEAD)


async def _rejected(found: dict[str, Any], prefix: str, errors: Path, blobs: Blobs) -> FileRejected:
    stored = None
    if found["n_errors"]:
        stored = await blobs.store(f"{prefix}/errors.jsonl", errors, "application/jsonl")
    return FileRejected(
        code=found["code"],
        message=found["message"],
        param="file",
        rows=found["rows"],
        n_errors=found["n_errors"],
        errors=tuple(RowError(**error) for error in found["errors"]),
        errors_blob=stored,
    )


async def _fetch(blobs: Blobs, blob: BlobRef, path: Path) -> FileRejected | None:
    """Bring the bytes to `path`, or say why they cannot be had."""
    for _ in range(_FETCHES):
        try:
            await blobs.fetch(blob, path)
        except BlobNotFoundError:
            message = f"The bytes of the file are not in the store under {blob.key}. Upload them first, then publish."
            return FileRejected(code="blob_not_found", message=message, param="blob.key")
        except BlobMismatchError:
            continue
        return None
    message = f"The bytes under {blob.key} do not have the stated length and SHA-256. Upload them again."
    return FileRejected(code="blob_mismatch", message=message, param="blob.sha256")


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the verdict on a file whose validation failed too often."""
    message = f"The file could not be checked, for a reason of the platform's own: {why}. Upload it again."
    verdict = FileRejected(code="validation_failed", message=message, param="file")
    return [_event(claim.control, verdict)]
