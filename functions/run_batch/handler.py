"""A batch was created: open the stage that runs it; it is over: its recorded parts go."""

from __future__ import annotations

from typing import Any

from contracts.documents import View
from contracts.envelope import Event
from contracts.ports import Blobs, Controls, WakeUp

STAGE = "run_batch"


async def on_batch_created(event: Event, controls: Controls, wake: WakeUp) -> None:
    """Open the stage."""
    await controls.open(event.subject, event.tenant, STAGE, {"event_id": event.id})
    wake(STAGE)


async def on_batch_ended(event: Event, blobs: Blobs) -> None:
    """Erase what was recorded on the way: it stands in the files."""
    await blobs.delete(f"{event.tenant}/{event.subject}/")


def inputs_of(_batch: View) -> dict[str, Any]:
    """Return what the stage needs, from the read model."""
    return {"event_id": None}
