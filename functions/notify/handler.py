"""A job has ended: say who is to be told, and open the stage that tells each of them."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.envelope import Event
from contracts.ports import Controls, Documents, Emit, UnavailableError, WakeUp
from functions.notify import core
from functions.notify.settings import NotifySettings


@dataclass(frozen=True, slots=True)
class NotifyPorts:
    """The ports, and whether there is a mail server."""

    documents: Documents
    controls: Controls
    emit: Emit
    wake: WakeUp
    settings: NotifySettings


async def on_job_ended(event: Event, deps: NotifyPorts) -> None:
    """Request a notification for everybody who is to be told of a job's end."""
    job = await deps.documents.get("jobs", event.subject)
    if job is None:  # topics have no order among each other
        raise UnavailableError("mongo", f"the job {event.subject} is not known yet")
    creator = job["created"].get("creator_id")
    keys = await deps.documents.find("keys", {"id": creator}, limit=1) if creator and deps.settings.smtp_url else []
    endpoints = await deps.documents.find("webhook_endpoints", {"tenant": event.tenant, "deleted": False})
    for wanted in core.requested(event, keys[0] if keys else None, endpoints):
        await deps.documents.apply(await deps.emit(wanted))


async def on_notification_requested(event: Event, deps: NotifyPorts) -> None:
    """Open the stage that tells."""
    said = {"requested": event.data.model_dump(mode="json")}
    await deps.controls.open(event.subject, event.tenant, core.STAGE, core.inputs(said))
    deps.wake(core.STAGE)
