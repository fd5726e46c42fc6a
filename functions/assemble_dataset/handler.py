"""Joins a planned corpus with its documents' rows: whichever ends last opens the stage that makes the data set."""

from __future__ import annotations

from typing import Any

from contracts.envelope import Event
from contracts.ports import Bell, Controls, Documents

STAGE = "assemble_dataset"
TOPICS = ("corpus.planned", "examples.synthesized", "examples.failed")
JOINS = ("archives", "documents")


async def on_examples_ended(event: Event, documents: Documents, controls: Controls, bell: Bell) -> None:
    """File the event in the joins, then look whether the rows of every planned document have ended."""
    await documents.apply(event, *JOINS)
    said: dict[str, Any] = event.data.model_dump(mode="json")
    await settle(said.get("archive", event.subject), documents, controls, bell, event.id)


async def settle(
    archive: str, documents: Documents, controls: Controls, bell: Bell, event_id: str | None = None
) -> None:
    """Open the assembly of an archive whose documents all have their rows; any other is left alone."""
    found = await documents.get("archives", archive)
    if found is None or not found["planned"] or found["assembled"] or found["failed"] or found["deleted"]:
        return
    of_it = {"archive": archive, "made": True}
    if await documents.count("documents", of_it) < found["planned"]["documents"]:
        return
    made = sorted(await documents.find("documents", of_it), key=lambda each: str(each["id"]))
    inputs = {
        "event_id": event_id,
        "archive": archive,
        "plan": found["planned"]["plan"],
        "documents": [
            {"chunks": each["chunked"]["chunks"], "examples": (each["examples"] or {}).get("examples")} for each in made
        ],
    }
    await controls.open(f"{archive}/dataset", found["tenant"], STAGE, inputs)
    bell(STAGE)
