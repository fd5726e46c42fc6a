"""A document's text is there: open the stage that cuts it into chunks."""

from __future__ import annotations

from contracts.envelope import Event
from contracts.ports import Controls, WakeUp

STAGE = "chunk_text"


async def on_document_extracted(event: Event, controls: Controls, wake: WakeUp) -> None:
    """Open the cutting of the document; the document's own control has ended with its extraction."""
    extracted = event.data.model_dump(mode="json")
    inputs = {"event_id": event.id, **{name: extracted[name] for name in ("archive", "path", "text")}}
    await controls.open(f"{event.subject}/chunks", event.tenant, STAGE, inputs)
    wake(STAGE)
