"""Reacts to a job that can be trained."""

from __future__ import annotations

from contracts.envelope import Event
from contracts.ports import WakeUp

STAGE = "train"


async def on_job_queued(event: Event, wake: WakeUp) -> None:
    """Wake this machine's trainer; the lease decides who trains, this only wakes whoever does it."""
    wake(STAGE)
