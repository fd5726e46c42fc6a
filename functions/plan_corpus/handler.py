"""Joins an archive with its documents: whichever ends last opens the stage that plans the corpus."""

from __future__ import annotations

from typing import Any

from contracts.canonical import compact
from contracts.documents import View
from contracts.envelope import Event
from contracts.ports import Blobs, Controls, Documents, WakeUp

STAGE = "plan_corpus"
TOPICS = ("zip.extracted", "document.chunked", "document.rejected")
JOINS = ("archives", "documents")


async def on_document_ended(event: Event, blobs: Blobs, documents: Documents, controls: Controls, wake: WakeUp) -> None:
    """File the event in the joins, then look whether every document of its archive has ended."""
    await documents.apply(event, *JOINS)
    said: dict[str, Any] = event.data.model_dump(mode="json")
    await settle(said.get("archive", event.subject), blobs, documents, controls, wake, event.id)


async def settle(
    archive: str, blobs: Blobs, documents: Documents, controls: Controls, wake: WakeUp, event_id: str | None = None
) -> None:
    """Open the planning of an archive whose documents have all ended; any other is left alone.

    They are listed in a blob: ten thousand of them have no place in a control document.
    """
    found = await documents.get("archives", archive)
    if found is None or found["documents"] is None or found["planned"] or found["failed"] or found["deleted"]:
        return
    of_it = {"archive": archive, "cut": True}
    if await documents.count("documents", of_it) < found["documents"]:
        return
    ended = sorted(await documents.find("documents", of_it), key=lambda each: str(each["id"]))
    listed = {
        "documents": [{"document": d["id"], "chunks": d["chunked"]["chunks"]} for d in ended if d["chunked"]],
        "rejected": [d["id"] for d in ended if not d["chunked"]],
        "first_rejected": next((d["rejected"] for d in ended if d["rejected"]), None),
    }
    blob = await blobs.put(f"{found['tenant']}/{archive}/plan.documents.json", compact(listed), "application/json")
    inputs = {"event_id": event_id, "archive": archive, "listed": blob.model_dump(mode="json")}
    await controls.open(f"{archive}/plan", found["tenant"], STAGE, inputs)
    wake(STAGE)


async def retake(archive: View, blobs: Blobs, documents: Documents, controls: Controls, wake: WakeUp) -> None:
    """Look once more whether an archive can be planned."""
    if archive["source"] is None and not archive["planned"]:
        await settle(archive["id"], blobs, documents, controls, wake)
