"""Unpacking under a lease: the archive comes to scratch, a limited child unpacks it, its documents become blobs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from contracts.canonical import canonical
from contracts.controls import Claim, Control
from contracts.corpus import Member, document_id
from contracts.envelope import Event
from contracts.events import Payload
from contracts.events.corpus import ZipExtracted, ZipUploaded
from contracts.events.files import FileRejected, RowError
from contracts.ports import Blobs, Child, Lease
from functions._shared.stage import ChildStage, Limits, event_of, run_stage
from functions._shared.uploaded import UnusableBlobError, bring, check_owner, own_key
from functions.extract_zip.core import size_refusal

MOST_TOLD = 20
UNPACK = "functions.extract_zip.unpack"
LIMITS = Limits(memory_bytes=2**29, seconds=900.0)
_STORES = 8  # at a time: most documents are small, and a store takes its time for each
_LARGE = 2**20  # bytes from which they go one at a time: a store holds tens of MiB of each that it sends in parts
_TOO_COMPLEX = FileRejected(
    code="archive_too_complex",
    message="The archive could not be unpacked within the limits of memory and time. Split it.",
    param="file",
)


async def work(lease: Lease, blobs: Blobs, child: Child, scratch: Path) -> list[Event]:
    """Return what became of the archive that `lease` holds: `zip.extracted` or `file.rejected`.

    Inputs of the control: `uploaded`, a ZipUploaded as JSON, and `event_id`, the id of its event. Blobs written:
    `{tenant}/{archive}/documents/{document}/content` of each document taken, `{tenant}/{archive}/members.json`.
    """
    return [_event(lease.claim.control, await run_stage(lease, blobs, child, scratch, _outcome))]


def _event(control: Control, outcome: Payload) -> Event:
    name = "verdict" if isinstance(outcome, FileRejected) else "zip.extracted"
    return event_of(control, outcome, control.subject, name)


async def _outcome(stage: ChildStage) -> Payload:
    tenant, archive, content = stage.control.tenant, stage.control.subject, stage.folder / "content"
    blob = ZipUploaded.model_validate(stage.control.inputs["uploaded"]).blob
    try:
        check_owner(tenant, archive, blob)
        refusal = size_refusal(blob)
        if refusal is not None:
            return refusal
        await bring(stage.blobs, tenant, archive, blob, content, own_key(tenant, archive))
    except UnusableBlobError as error:
        return FileRejected(code=error.code, message=str(error), param=error.param)
    members, listed = stage.folder / "members", stage.folder / "members.jsonl"
    members.mkdir()
    spec = {"input": content, "folder": members, "members": listed}
    verdict = await stage.run(UNPACK, spec, LIMITS, f"unpacking {archive}", _TOO_COMPLEX)
    if not verdict["ok"]:
        errors = tuple(RowError(**error) for error in verdict["errors"])
        return FileRejected(
            code=verdict["code"], message=verdict["message"], param="file", errors=errors, n_errors=len(errors)
        )
    found = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines()]
    return await _stored(f"{tenant}/{archive}", archive, found, members, stage.blobs)


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
    told = [m.model_dump() for m in members if m.document is None and m.code != "boilerplate"][:MOST_TOLD]
    return ZipExtracted(manifest=manifest, taken=taken, skipped=len(members) - taken, first_skipped=told)


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the verdict on an archive whose unpacking failed too often."""
    message = f"The archive could not be unpacked, for a reason of the platform's own: {why}. Upload it again."
    return [_event(claim.control, FileRejected(code="extraction_failed", message=message, param="file"))]
