"""A run was created: open the stage that runs it; what was deleted goes with all that was made of it."""

from __future__ import annotations

from typing import Any

from contracts.documents import View
from contracts.envelope import Event
from contracts.ports import Blobs, Controls, Documents, WakeUp

STAGE = "run_eval"


async def on_eval_run_created(event: Event, controls: Controls, wake: WakeUp) -> None:
    """Open the stage."""
    await controls.open(event.subject, event.tenant, STAGE, {"event_id": event.id})
    wake(STAGE)


async def on_deleted(event: Event, blobs: Blobs, documents: Documents) -> None:
    """Erase what an eval or a run held; what its work still writes goes at its end."""
    await documents.apply(event)  # whoever writes next shall see it
    await blobs.delete(f"{event.tenant}/{event.subject}/")


async def on_eval_run_ended(event: Event, blobs: Blobs, documents: Documents) -> None:
    """Erase what was recorded of a run that was deleted meanwhile."""
    run = await documents.get("eval_runs", event.subject)
    if run is not None and run["deleted"]:
        await blobs.delete(f"{event.tenant}/{event.subject}/")


def inputs_of(_run: View) -> dict[str, Any]:
    """Return what the stage needs, from the read model."""
    return {"event_id": None}
