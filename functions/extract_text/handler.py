"""An archive was unpacked, or one document arrived: open the stage that reads each document."""

from __future__ import annotations

from pydantic import TypeAdapter

from contracts.blobs import BlobRef
from contracts.corpus import Member, document_id
from contracts.envelope import Event
from contracts.ports import BlobNotFoundError, Blobs, Controls, WakeUp
from functions.extract_text import core

STAGE = "extract_text"
_MEMBERS = TypeAdapter(tuple[Member, ...])


async def on_zip_extracted(event: Event, blobs: Blobs, controls: Controls, wake: WakeUp) -> None:
    """Open extraction of every member that was taken."""
    archive, tenant = event.subject, event.tenant
    try:
        manifest = await blobs.get(event.data.model_dump()["manifest"]["key"])
    except BlobNotFoundError:  # it goes only with its archive
        return
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
