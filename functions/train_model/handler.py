"""Reacts to a job that can be trained."""

from __future__ import annotations

from contracts.envelope import Event
from contracts.ports import Bell

STAGE = "train"


async def on_job_queued(event: Event, bell: Bell) -> None:
    """Wake this machine's trainer; the lease decides who trains, this only rings the bell."""
    bell(STAGE)
