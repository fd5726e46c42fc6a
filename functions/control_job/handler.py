"""Reacts to requests to pause, resume or cancel a job, also to those that came before the job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from contracts.controls import Control
from contracts.envelope import Event, PoisonError
from contracts.ports import Controls, Documents, Emit, LostLeaseError
from functions.control_job import core

TOPICS = ("job.created", *core.REQUESTS)
FIRST_STAGE = "prepare"


@dataclass(frozen=True, slots=True)
class ControlPorts:
    """What the handler needs of the world."""

    documents: Documents
    controls: Controls
    emit: Emit
    publish: Callable[[Control], Awaitable[None]]
    """Publishes a control document's recorded events."""


async def on_job(event: Event, deps: ControlPorts) -> None:
    """Answer a request about a job; with the job itself, those that overtook it: topics have no order."""
    await deps.documents.apply(event, "jobs")
    if event.type != "job.created":
        await _answer(event, deps)
        return
    job = await deps.documents.get("jobs", event.subject)
    if job is None or job["ended"]:
        return
    # In this order: a request that is not seen below finds the control document.
    await deps.controls.open(event.subject, event.tenant, FIRST_STAGE, {}, ready=False)
    job = await deps.documents.get("jobs", event.subject)
    for request in core.unanswered(job) if job else ():
        await _answer(request, deps)


async def _answer(event: Event, deps: ControlPorts) -> None:
    control = await deps.controls.get(event.subject)
    if control is not None and control.tenant != event.tenant:
        raise PoisonError("foreign_subject", f"{event.subject} is not a job of tenant {event.tenant}")
    if control is None or control.ended:
        return
    if event.type == "job.cancel_requested":
        await _cancel(event, deps)
        return
    if core.asks_from_outside(event):
        control = await deps.controls.desire(event.subject, core.DESIRES[event.type], event.id)
        if control is None:
            return
        await deps.emit(core.answered(event, control))
    if (rest := core.at_rest(control)) is not None:
        await deps.emit(rest)


async def _cancel(event: Event, deps: ControlPorts) -> None:
    """End the job at once; whoever holds it stops at its next heartbeat."""
    ending = core.cancelled(event.subject, event.tenant, event.id, "requested")
    try:
        await deps.publish(await deps.controls.end(event.subject, [ending]))
    except LostLeaseError:
        return
