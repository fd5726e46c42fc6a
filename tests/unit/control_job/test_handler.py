"""P1, P2: what another system asks of a job counts, also when it comes before the job."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from itertools import permutations
from typing import Any

import pytest

from contracts.controls import Control
from contracts.envelope import Event, PoisonError, make
from contracts.events.jobs import JobCancelRequested, JobCreated, JobPauseRequested, JobResumeRequested
from functions.control_job.handler import Deps, on_job
from infra.adapters.memory import MemoryControls, MemoryDocuments, MemoryEmit
from infra.runtime.leases import publish_recorded

JOB = "ftjob-1"


@dataclass
class Settled:
    """Everything that control_job uses."""

    emit: MemoryEmit = field(default_factory=MemoryEmit)
    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    controls: MemoryControls = field(default_factory=MemoryControls)

    async def hear(self, *events: Event) -> list[str]:
        """Let the function hear these; returns what it said of it."""
        publish = partial(publish_recorded, controls=self.controls, emit=self.say, documents=self.documents)
        for event in events:
            await on_job(event, Deps(self.documents, self.controls, self.say, publish))
        return [event.type for event in self.emit.events]

    async def say(self, event: Event) -> Event:
        """Publish, and let the projector fold it."""
        said = await self.emit(event)
        await self.documents.apply(said)
        return said

    @property
    def control(self) -> Control:
        return self.controls.controls[JOB]


def said(data: Any, at: int, tenant: str = "local") -> Event:
    event = make(data, subject=JOB, tenant=tenant, id=f"outside-{at}")
    return replace(event, at=at)


CREATED = said(JobCreated(model="m", training_file="file-1"), 2)
CANCEL = said(JobCancelRequested(), 1)


@pytest.mark.parametrize("order", list(permutations([CREATED, CANCEL])))
async def test_a_cancellation_ends_the_job_whichever_comes_first(order: tuple[Event, ...]) -> None:
    settled = Settled()
    assert await settled.hear(*order) == ["job.cancelled"]
    assert settled.control.ended
    assert settled.emit.events[0].cause == CANCEL.id
    assert await settled.hear(*order, *order) == ["job.cancelled"], "said again, it is said once"


@pytest.mark.parametrize("order", list(permutations([CREATED, said(JobPauseRequested(), 1)])))
async def test_a_pause_rests_the_job_whichever_comes_first(order: tuple[Event, ...]) -> None:
    settled = Settled()
    assert await settled.hear(*order) == ["job.pause_requested", "job.paused"]
    assert (settled.control.desired, settled.control.epoch) == ("pause", 2)
    await settled.hear(*order, *order)
    assert (settled.control.desired, settled.control.epoch) == ("pause", 2)


async def test_requests_that_overtook_the_job_count_in_their_order() -> None:
    settled = Settled()
    await settled.hear(said(JobResumeRequested(), 7), said(JobPauseRequested(), 5), CREATED)
    assert (settled.control.desired, settled.control.epoch) == ("run", 3)
    view = await settled.documents.get("jobs", JOB)
    assert view is not None
    assert view["status"] == "queued"


async def test_another_tenants_request_before_the_job_is_as_good_as_none() -> None:
    settled = Settled()
    assert await settled.hear(said(JobCancelRequested(), 1, tenant="mallory"), CREATED) == []
    assert not settled.control.ended
    with pytest.raises(PoisonError):
        await settled.hear(said(JobCancelRequested(), 3, tenant="mallory"))


async def test_a_request_of_a_job_that_never_comes_keeps_nobody_waiting() -> None:
    settled = Settled()
    assert await settled.hear(CANCEL) == []
    assert settled.controls.controls == {}
