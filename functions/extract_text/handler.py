"""An archive was unpacked, or one document arrived: open the stage that reads each document."""

from __future__ import annotations

from pydantic import TypeAdapter

from contracts.blobs import BlobRef
from contracts.corpus import Member, document_id
from contracts.documents import View
from contracts.envelope import Event
from contracts.function import said_again
from contracts.ports import Blobs, Controls, WakeUp
from functions.extract_text import core

STAGE = "extract_text"
_MEMBERS = TypeAdapter(tuple[Member, ...])


async def on_zip_extracted(event: Event, blobs: Blobs, controls: Controls, wake: WakeUp) -> None:
    """Open extraction of every member that was taken."""
    archive, tenant = event.subject, event.tenant
    manifest = await blobs.get(event.data.model_dump()["manifest"]["key"])
    for member in _MEMBERS.validate_json(manifest):
        if member.document is not None:
            inputs = core.member_inputs(tenant, archive, member, event.id)
            await controls.open(member.document, tenant, STAGE, inputs)
    wake(STAGE)


async def on_document_uploaded(event: Event, controls: Controls, wake: WakeUp) -> None:
    """Open extraction of a document that came alone, if rows are to be made of it."""
    uploaded = event.data.model_dump(mode="json")
    if uploaded["purpose"] != "fine-tune":
        return
    blob = BlobRef.model_validate(uploaded["blob"])
    inputs = core.document_inputs(event.subject, uploaded["filename"], uploaded["format"], blob, event.id)
    await controls.open(document_id(event.subject, blob.sha256), event.tenant, STAGE, inputs)
    wake(STAGE)


async def retake(archive: View, blobs: Blobs, controls: Controls, wake: WakeUp) -> None:
    """Open extraction once more of what an archive without a plan holds."""
    if archive["source"] is not None or archive["planned"]:
        return
    if archive["single"]:
        await on_document_uploaded(said_again(archive, "document.uploaded", archive["uploaded"]), controls, wake)
    elif archive["extracted"]:
        await on_zip_extracted(said_again(archive, "zip.extracted", archive["extracted"]), blobs, controls, wake)
