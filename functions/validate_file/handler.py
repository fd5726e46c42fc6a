"""A file was uploaded: open the stage that checks it."""

from __future__ import annotations

from typing import Any

from contracts.documents import View
from contracts.documents.files import MADE
from contracts.envelope import Event
from contracts.ports import Controls, WakeUp

STAGE = "validate"


async def on_file_uploaded(event: Event, controls: Controls, wake: WakeUp) -> None:
    """Open validation of the file; one that Temper wrote needs none."""
    uploaded = event.data.model_dump(mode="json")
    if uploaded["purpose"] in MADE:
        return
    inputs = {"event_id": event.id, "uploaded": uploaded}
    await controls.open(event.subject, event.tenant, STAGE, inputs)
    wake(STAGE)


def inputs_of(file: View) -> dict[str, Any]:
    """Return what validation needs, from the read model of a file."""
    names = ("blob", "filename", "purpose", "format", "expires_after")
    return {"event_id": None, "uploaded": {name: file[name] for name in names}}
