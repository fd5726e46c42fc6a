"""Unpacking under a lease: the archive comes to scratch, a limited child unpacks it, its documents become blobs."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

from contracts.blobs import BlobRef
from contracts.canonical import canonical
from contracts.controls import Claim, Control
from contracts.corpus import Member, document_id
from contracts.envelope import Event, derived_id, make
from contracts.events.corpus import ZipExtracted, ZipUploaded
from contracts.events.files import FileRejected
from contracts.ports import BlobMismatchError, BlobNotFoundError, Blobs, Child, Lease
from functions.extract_zip.core import blob_refusal, own_key

UNPACK = "functions.extract_zip.unpack"
MEMORY_BYTES = 2**29
SECONDS = 900.0
_TOO_COMPLEX = 3  # what unpack.py exits with when memory runs out
_FETCHES = 3  # a transfer may be damaged; what is stored stays damaged
_STORES = 8  # at a time: most documents are small, and a store takes its time for each
_LARGE = 2**20  # bytes from which they go one at a time: a store holds tens of MiB of each that it sends in parts


async def work(lease: Lease, blobs: Blobs, child: Child, scratch: Path) -> list[Event]:
    """Return what became of the archive that `lease` holds: `zip.extracted` or `file.rejected`.

    Inputs of the control: `uploaded`, a ZipUploaded as JSON, and `event_id`, the id of its event. Blobs written:
    `{tenant}/{archive}/documents/{document}/content` of each document taken, `{tenant}/{archive}/members.json`.
    """
    control = lease.claim.control
    uploaded = ZipUploaded.model_validate(control.inputs["uploaded"])
    folder = (scratch / f"{control.subject}-{lease.claim.fence}").resolve()  # the child works in another folder
    (folder / "members").mkdir(parents=True, exist_ok=True)
    try:
        return [_event(control, await _outcome(control.tenant, control.subject, uploaded.blob, blobs, child, folder))]
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _event(control: Control, outcome: ZipExtracted | FileRejected) -> Event:
    return make(
        outcome,
        subject=control.subject,
        tenant=control.tenant,
        id=derived_id(control.subject, "verdict" if isinstance(outcome, FileRejected) else "zip.extracted"),
        cause=control.inputs["event_id"],
    )


async def _outcome(
    tenant: str, archive: str, blob: BlobRef, blobs: Blobs, child: Child, scratch: Path
) -> ZipExtracted | FileRejected:
    refusal = blob_refusal(tenant, archive, blob)
    if refusal is not None:
        return refusal
    content = scratch / "content"
    missing = await _fetch(blobs, blob, content)
    if missing is not None:
        return missing
    if blob.key.startswith(f"{tenant}/ingest/"):  # from now on the bytes are the archive's own
        await blobs.store(own_key(tenant, archive), content, blob.media_type)
    paths = {"input": content, "folder": scratch / "members", "members": scratch / "members.jsonl"}
    spec = scratch / "spec.json"
    spec.write_text(json.dumps({name: str(path) for name, path in paths.items()}))
    result = await child.run(UNPACK, spec, memory_bytes=MEMORY_BYTES, seconds=SECONDS)
    if result.code < 0 or result.code == _TOO_COMPLEX:
        message = "The archive could not be unpacked within the limits of memory and time. Split it."
        return FileRejected(code="archive_too_complex", message=message, param="file")
    if result.code:
        raise result.failed(f"unpacking {archive}")
    verdict = json.loads(result.stdout)
    if not verdict["ok"]:
        return FileRejected(code=verdict["code"], message=verdict["message"], param="file")
    found = [json.loads(line) for line in paths["members"].read_text(encoding="utf-8").splitlines()]
    return await _stored(f"{tenant}/{archive}", archive, found, paths["folder"], blobs)


async def _stored(prefix: str, archive: str, found: list[dict[str, Any]], folder: Path, blobs: Blobs) -> ZipExtracted:
    """Store the documents, then what became of each member."""
    members: list[Member] = []
    small, large = asyncio.Semaphore(_STORES), asyncio.Semaphore(1)

    async def store(key: str, path: Path, size: int) -> None:
        async with large if size >= _LARGE else small:
            await blobs.store(key, path)

    try:
        async with asyncio.TaskGroup() as stores:
            for line in found:
                file = line.pop("file", None)
                document = document_id(archive, line["sha256"]) if file else None
                members.append(Member(document=document, **line))
                if file:
                    stores.create_task(store(f"{prefix}/documents/{document}/content", folder / file, line["bytes"]))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors  # the runner waits out an UnavailableError itself
    listed = canonical([member.model_dump(mode="json") for member in members])
    manifest = await blobs.put(f"{prefix}/members.json", listed, "application/json")
    taken = sum(member.document is not None for member in members)
    return ZipExtracted(manifest=manifest, taken=taken, skipped=len(members) - taken)


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
    """Return the verdict on an archive whose unpacking failed too often."""
    message = f"The archive could not be unpacked, for a reason of the platform's own: {why}. Upload it again."
    return [_event(claim.control, FileRejected(code="extraction_failed", message=message, param="file"))]
