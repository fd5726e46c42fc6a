"""Reacts to requests to pause, resume or cancel a job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from contracts.controls import Control
from contracts.envelope import Event, PoisonError
from contracts.ports import Controls, Emit, LostLeaseError
from functions.control_job import core

Publish = Callable[[Control], Awaitable[None]]


async def on_job_requested(event: Event, controls: Controls, emit: Emit) -> None:
    """Open the epoch that an outside request asks for, and say `job.paused` where nobody else will."""
    control = await controls.get(event.subject)
    if control is not None and control.tenant != event.tenant:
        raise PoisonError("foreign_subject", f"{event.subject} is not a job of tenant {event.tenant}")
    if control is None or control.ended:
        return
    if core.asks_from_outside(event):
        control = await controls.desire(event.subject, core.DESIRES[event.type], event.id)
        if control is None:
            return
        await emit(core.answered(event, control))
    if (rest := core.at_rest(control)) is not None:
        await emit(rest)


async def on_job_cancel_requested(event: Event, controls: Controls, publish: Publish) -> None:
    """End the job at once; whoever holds it stops at its next heartbeat."""
    control = await controls.get(event.subject)
    if control is not None and control.tenant != event.tenant:
        raise PoisonError("foreign_subject", f"{event.subject} is not a job of tenant {event.tenant}")
    if control is None or control.ended:
        return
    ending = core.cancelled(event.subject, event.tenant, event.id, "requested")
    try:
        await publish(await controls.end(event.subject, [ending]))
    except LostLeaseError:
        return
