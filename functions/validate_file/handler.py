"""A file was uploaded: open the stage that checks it."""

from __future__ import annotations

from contracts.envelope import Event
from contracts.ports import Controls, WakeUp

STAGE = "validate"


async def on_file_uploaded(event: Event, controls: Controls, wake: WakeUp) -> None:
    """Open validation of the file; a job's own result file needs none."""
    uploaded = event.data.model_dump(mode="json")
    if uploaded["purpose"] == "fine-tune-results":
        return
    inputs = {"event_id": event.id, "uploaded": uploaded}
    await controls.open(event.subject, event.tenant, STAGE, inputs)
    wake(STAGE)
