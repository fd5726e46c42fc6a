"""An archive was uploaded: open the stage that unpacks it."""

from __future__ import annotations

from contracts.documents import View
from contracts.envelope import Event
from contracts.function import said_again
from contracts.ports import Controls, WakeUp

STAGE = "extract_zip"


async def on_zip_uploaded(event: Event, controls: Controls, wake: WakeUp) -> None:
    """Open unpacking of an archive that is to be trained on; for other purposes it is only kept."""
    uploaded = event.data.model_dump(mode="json")
    if uploaded["purpose"] != "fine-tune":
        return
    inputs = {"event_id": event.id, "uploaded": uploaded}
    await controls.open(event.subject, event.tenant, STAGE, inputs)
    wake(STAGE)


async def retake(archive: View, controls: Controls, wake: WakeUp) -> None:
    """Open unpacking once more for an archive that is not unpacked."""
    if archive["source"] is None and not (archive["single"] or archive["extracted"] or archive["planned"]):
        await on_zip_uploaded(said_again(archive, "zip.uploaded", archive["uploaded"]), controls, wake)
