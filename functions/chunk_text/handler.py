"""A document's text is there: open the stage that cuts it into chunks."""

from __future__ import annotations

from contracts.documents import View
from contracts.envelope import Event
from contracts.function import said_again
from contracts.ports import Controls, Documents, WakeUp

STAGE = "chunk_text"


async def on_document_extracted(event: Event, controls: Controls, wake: WakeUp) -> None:
    """Open the cutting of the document; the document's own control has ended with its extraction."""
    extracted = event.data.model_dump(mode="json")
    inputs = {"event_id": event.id, **{name: extracted[name] for name in ("archive", "path", "text")}}
    await controls.open(f"{event.subject}/chunks", event.tenant, STAGE, inputs)
    wake(STAGE)


async def retake(archive: View, documents: Documents, controls: Controls, wake: WakeUp) -> None:
    """Open the cutting once more of an archive's documents that are read and not cut."""
    if archive["source"] is not None or archive["planned"]:
        return
    for document in await documents.find("documents", {"archive": archive["id"], "cut": False}):
        if document["extracted"]:
            said = said_again(document, "document.extracted", document["extracted"])
            await on_document_extracted(said, controls, wake)
