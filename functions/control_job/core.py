"""Decides what a request to pause, resume or cancel a job leads to."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.controls import Control
from contracts.documents.facts import View
from contracts.envelope import Event, derived_id, make
from contracts.events import Payload
from contracts.events.jobs import JobCancelled, JobCancelRequested, JobPaused, JobPauseRequested, JobResumeRequested

DESIRES = {"job.pause_requested": "pause", "job.resume_requested": "run"}
REQUESTS: Mapping[str, type[Payload]] = {
    "job.pause_requested": JobPauseRequested,
    "job.resume_requested": JobResumeRequested,
    "job.cancel_requested": JobCancelRequested,
}


def asks_from_outside(event: Event) -> bool:
    """Whether Temper has not opened an epoch for this request yet."""
    return event.epoch == 0


def unanswered(job: View) -> list[Event]:
    """Return the outside requests about a job to which Temper has said nothing yet, the oldest first."""
    asked = sorted(job["requests"], key=lambda each: (each["at"], each["id"]))
    return [
        make(REQUESTS[each["topic"]](), subject=job["id"], tenant=job["tenant"], id=each["id"])
        for each in asked
        if each["epoch"] == 0
        and not any(own["epoch"] and own["topic"] == each["topic"] and own["at"] >= each["at"] for own in asked)
    ]


def answered(event: Event, control: Control) -> Event:
    """Return Temper's own event for an outside request, in the epoch that it opened."""
    data = REQUESTS[event.type]()
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
