"""A response was asked for in the background: open the stage that answers it."""

from __future__ import annotations

from typing import Any

from contracts.documents import View
from contracts.envelope import Event
from contracts.events.completions import STAGE
from contracts.ports import Controls, WakeUp


async def on_completion_requested(event: Event, controls: Controls, wake: WakeUp) -> None:
    """Open the stage."""
    await controls.open(event.subject, event.tenant, STAGE, {"event_id": event.id})
    wake(STAGE)


def inputs_of(_response: View) -> dict[str, Any]:
    """Return what the stage needs, from the read model."""
    return {"event_id": None}
