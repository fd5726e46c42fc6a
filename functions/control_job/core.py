"""Decides what a request to pause, resume or cancel a job leads to."""

from __future__ import annotations

from contracts.controls import Control
from contracts.envelope import Event, derived_id, make
from contracts.events.jobs import JobCancelled, JobPaused, JobPauseRequested, JobResumeRequested

DESIRES = {"job.pause_requested": "pause", "job.resume_requested": "run"}


def asks_from_outside(event: Event) -> bool:
    """Whether Temper has not opened an epoch for this request yet."""
    return event.epoch == 0


def answered(event: Event, control: Control) -> Event:
    """Return Temper's own event for an outside request, in the epoch that it opened."""
    data = JobPauseRequested() if event.type == "job.pause_requested" else JobResumeRequested()
    id = derived_id(control.subject, event.type, control.epoch)
    return make(data, subject=control.subject, tenant=control.tenant, id=id, cause=event.id, epoch=control.epoch)


def at_rest(control: Control) -> Event | None:
    """Return `job.paused` for a job that should rest and that nobody holds; a holder says it itself."""
    if control.ended or control.desired != "pause" or control.live:
        return None
    step = max((checkpoint.step for checkpoint in control.checkpoints), default=0)
    return paused(control, step)


def paused(control: Control, step: int) -> Event:
    """Return the event that says that the job rests, in the epoch of the pause."""
    return make(
        JobPaused(step=step),
        subject=control.subject,
        tenant=control.tenant,
        id=derived_id(control.subject, "job.paused", control.epoch),
        epoch=control.epoch,
    )


def cancelled(subject: str, tenant: str, cause: str, reason: str) -> Event:
    """Return the ending of a job that somebody cancelled."""
    data = JobCancelled(reason=reason)
    return make(data, subject=subject, tenant=tenant, id=derived_id(subject, "end"), cause=cause)
