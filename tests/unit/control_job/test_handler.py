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
from contracts.ports import LostLeaseError
from functions.control_job.core import cancelled
from functions.control_job.handler import ControlPorts, on_job
from infra.adapters.memory import MemoryControls, MemoryDocuments, MemoryEmit
from infra.runtime.leases import HeldLease, publish_recorded

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
            await on_job(event, ControlPorts(self.documents, self.controls, self.say, publish))
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


async def held(settled: Settled) -> HeldLease:
    """A job that is trained."""
    await settled.hear(CREATED)
    await settled.controls.open(JOB, "local", "prepare", {})
    claim = await settled.controls.claim("prepare", "host/1")
    assert claim is not None
    return HeldLease(settled.controls, claim)


async def test_a_job_that_is_held_is_asked_to_rest_and_its_holder_says_when_it_does() -> None:
    settled = Settled()
    lease = await held(settled)
    assert await settled.hear(said(JobPauseRequested(), 5)) == ["job.pause_requested"]
    assert (await lease.refresh()).desired == "pause"


async def test_a_job_that_is_held_is_cancelled_at_once_and_its_holder_hears_of_it() -> None:
    settled = Settled()
    lease = await held(settled)
    assert await settled.hear(said(JobCancelRequested(), 5)) == ["job.cancelled"]
    with pytest.raises(LostLeaseError):
        await lease.refresh()


async def test_what_the_edge_asks_has_its_epoch_already_and_only_the_rest_is_said() -> None:
    settled = Settled()
    await settled.hear(CREATED)
    opened = await settled.controls.desire(JOB, "pause", "by the edge")
    assert opened is not None
    own = replace(said(JobPauseRequested(), 5), epoch=opened.epoch)
    assert await settled.hear(own) == ["job.paused"]
    assert settled.control.epoch == opened.epoch


@pytest.mark.parametrize("asked", [JobPauseRequested(), JobResumeRequested(), JobCancelRequested()], ids=repr)
async def test_a_request_about_a_job_that_has_ended_says_nothing(asked: Any) -> None:
    settled = Settled()
    assert await settled.hear(CREATED, said(JobCancelRequested(), 3), said(asked, 5)) == ["job.cancelled"]


async def test_a_job_that_ends_while_it_is_asked_to_rest_says_nothing_of_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settled = Settled()
    await settled.hear(CREATED)
    desire = settled.controls.desire

    async def overtaken(*asked: Any) -> Control | None:
        await settled.controls.end(JOB, [cancelled(JOB, "local", "edge", "requested")])
        return await desire(*asked)

    monkeypatch.setattr(settled.controls, "desire", overtaken)
    assert await settled.hear(said(JobPauseRequested(), 5)) == []


async def test_a_job_whose_control_document_is_lost_meanwhile_is_cancelled_when_it_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settled = Settled()
    await settled.hear(CREATED)
    end = settled.controls.end

    async def lost(*asked: Any) -> Control:
        settled.controls.controls.clear()
        return await end(*asked)

    monkeypatch.setattr(settled.controls, "end", lost)
    assert await settled.hear(CANCEL) == []
    monkeypatch.undo()
    assert await settled.hear(CREATED) == ["job.cancelled"]
