"""A corpus was planned: open the stage that makes rows of each of its documents."""

from __future__ import annotations

import json

from contracts.controls import EXAMPLES
from contracts.documents import View
from contracts.envelope import Event
from contracts.function import said_again
from contracts.ports import Blobs, Controls, WakeUp

STAGE = "synthesize_examples"


def subject_of(document: str) -> str:
    """Return the subject of the control document; the document's own id is that of its extraction and chunking."""
    return document + EXAMPLES


async def on_corpus_planned(event: Event, blobs: Blobs, controls: Controls, wake: WakeUp) -> None:
    """Open the work on every document of which rows are asked."""
    planned = event.data.model_dump(mode="json")["plan"]
    plan = json.loads(await blobs.get(planned["key"]))
    inputs = {"event_id": event.id, "archive": event.subject, "plan": planned}
    for document in sorted({chunk["document"] for chunk in plan["chunks"] if chunk["rows"] > 0}):
        await controls.open(subject_of(document), event.tenant, STAGE, inputs)
    wake(STAGE)


async def retake(archive: View, blobs: Blobs, controls: Controls, wake: WakeUp) -> None:
    """Open the work once more on the documents of a planned archive."""
    if archive["source"] is None and archive["planned"]:
        await on_corpus_planned(said_again(archive, "corpus.planned", archive["planned"]), blobs, controls, wake)
