"""Work under a lease, in parts that need no server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import AsyncMock

import pytest

from contracts.controls import MAX_ATTEMPTS, Claim, Control
from contracts.envelope import Event, derived_id, make
from contracts.events.jobs import JobCancelled, JobFailed
from contracts.ports import ChildResult, Lease, UnavailableError
from infra.adapters.memory import MemoryControls, MemoryDocuments, MemoryEmit
from infra.runtime.functions import stages
from infra.runtime.leases import Placed, Runner, WakeUps, Work

JOB = "ftjob-1"


async def test_a_ring_wakes_whoever_waits_for_that_stage() -> None:
    wake_ups = WakeUps()
    waiting = asyncio.create_task(wake_ups.wait("train"))
    await asyncio.sleep(0)
    wake_ups("prepare")
    await asyncio.sleep(0)
    assert not waiting.done()
    wake_ups("train")
    await waiting


async def test_what_nobody_rang_for_is_seen_by_the_watch_and_an_outage_is_told_to_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    controls, wake_ups = MemoryControls(), WakeUps()
    await controls.open("ftjob-1", "local", "train", {})
    waiting = {stage: asyncio.create_task(wake_ups.wait(stage)) for stage in ("train", "prepare")}
    watching = asyncio.create_task(wake_ups.watch(controls))
    async with asyncio.timeout(5):
        await waiting["train"]
        assert not waiting["prepare"].done()
        monkeypatch.setattr(controls, "claimable", AsyncMock(side_effect=UnavailableError("mongo")))
        await waiting["prepare"]
    watching.cancel()


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_a_cancellation_that_comes_with_a_ring_is_not_lost(turns: int) -> None:
    wake_ups = WakeUps()
    waiting = asyncio.create_task(wake_ups.wait("train"))
    await asyncio.sleep(0)
    wake_ups("train")
    for _ in range(turns):  # of the loop, until the waiter sees the ring
        await asyncio.sleep(0)
    accepted = waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled() == accepted


async def test_a_runner_ends_even_where_a_library_swallows_its_cancellation() -> None:
    asked = asyncio.Event()

    class Swallowing(MemoryControls):
        async def claim(self, *_: Any) -> None:
            asked.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return

    unused: Any = None
    runner = Runner(Placed(stages()["train"], unused), "me", Swallowing(), unused, unused, WakeUps())
    running = asyncio.create_task(runner.run())
    await asked.wait()
    running.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait({running})
    assert running.cancelled()


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Setting:
    """Control documents with one job to train, and runners that work on it."""

    clock: Clock = field(default_factory=Clock)
    emit: MemoryEmit = field(default_factory=MemoryEmit)
    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    wake_ups: WakeUps = field(default_factory=WakeUps)

    def __post_init__(self) -> None:
        self.controls = MemoryControls(self.clock)

    def runner(self, work: Work, **more: Any) -> Runner:
        def exhausted(claim: Claim, why: str) -> list[Event]:
            data = JobFailed(code="attempts_exhausted", message=why)
            return [make(data, subject=claim.subject, tenant="local", id=derived_id(claim.subject, "end"))]

        stage = replace(stages()["train"], **{"exhausted": exhausted, "grace": 0.0, **more})
        return Runner(Placed(stage, work), "me", self.controls, self.emit, self.documents, self.wake_ups)

    async def attempt(self, work: Work) -> Control:
        """Let one attempt be made; returns the control document after it."""
        running = asyncio.create_task(self.runner(work).run())
        before = self.controls.controls[JOB].fence
        async with asyncio.timeout(5):
            while self.control.fence == before or self.control.holder is not None:
                await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait({running})
        return self.control

    @property
    def control(self) -> Control:
        return self.controls.controls[JOB]

    async def waited(self) -> float:
        """How long nobody may claim the job, in seconds; the clock is moved by it."""
        began = self.clock.seconds
        while await self.controls.claimable() == set():
            self.clock.seconds += 0.5
        return self.clock.seconds - began


@pytest.fixture
async def setting() -> Setting:
    made = Setting()
    await made.controls.open(JOB, "local", "train", {})
    return made


async def test_what_waits_for_a_dependency_is_tried_more_and_more_rarely_and_never_counted(setting: Setting) -> None:
    async def away(_lease: Lease) -> list[Event]:
        raise UnavailableError("serving", "serving answers 500")

    waits = []
    for _ in range(7):
        control = await setting.attempt(away)
        assert (control.attempts, control.why) == (0, "serving answers 500")
        waits.append(await setting.waited())
    assert waits == [2, 4, 8, 16, 30, 30, 30]


async def test_the_reason_of_the_last_attempt_is_known_to_whoever_gives_up(setting: Setting) -> None:
    async def crash(_lease: Lease) -> list[Event]:
        raise RuntimeError("the disk is full")

    for _ in range(MAX_ATTEMPTS):
        await setting.attempt(crash)
        await setting.waited()
    control = await setting.attempt(crash)  # each attempt is made by a runner of its own
    assert said(control) == "an unexpected RuntimeError"


def said(control: Control) -> str:
    """Return what the job failed with."""
    (event,) = control.events
    assert isinstance(event.data, JobFailed)
    return event.data.message


async def test_what_a_child_wrote_last_is_in_the_log_and_in_no_event(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    last_words = 'Traceback (most recent call last):\n  File "/home/somebody/recipe.py", line 1\nMemoryError: rows'

    async def crash(_lease: Lease) -> list[Event]:
        raise ChildResult(code=1, stdout=b"", stderr=last_words).failed("tokenising")

    for _ in range(MAX_ATTEMPTS):
        assert (await setting.attempt(crash)).why == "tokenising ended with status 1"
        await setting.waited()
    assert said(await setting.attempt(crash)) == "tokenising ended with status 1"
    assert "/home/somebody/recipe.py" in caplog.text


async def test_work_whose_result_cannot_be_said_ends_in_its_failure_at_once(setting: Setting) -> None:
    async def huge(lease: Lease) -> list[Event]:
        data = JobFailed.model_construct(code="c", message="x" * 300_000, param=None)
        return [make(data, subject=lease.claim.subject, tenant="local", id="1")]

    control = await setting.attempt(huge)
    assert (control.ended, control.attempts) == (True, 1)
    assert "belongs in blobs" in said(control)
    assert [event.type for event in setting.emit.events] == ["job.failed"]


async def test_work_that_says_on_its_way_what_cannot_be_said_ends_too(setting: Setting) -> None:
    async def half(lease: Lease) -> list[Event]:
        data = JobFailed.model_construct(code="c", message="\ud800", param=None)
        await setting.emit(make(data, subject=lease.claim.subject, tenant="local", id="1"))
        return []

    assert "cannot be said" in said(await setting.attempt(half))


async def test_a_tenants_large_things_keep_no_other_tenants_waiting(setting: Setting) -> None:
    large, small = asyncio.Event(), asyncio.Event()
    begun: list[str] = []

    async def work(lease: Lease) -> list[Event]:
        begun.append(lease.claim.subject)
        await (small if lease.claim.control.tenant == "b" else large).wait()
        return []

    for subject, tenant in (("large-1", "a"), ("large-2", "a"), ("small", "b")):
        await setting.controls.open(subject, tenant, "prepare", {})
    stage = replace(stages()["prepare"], exhausted=lambda claim, why: [])
    ports = (setting.controls, setting.emit, setting.documents, setting.wake_ups)
    runners = [Runner(Placed(stage, work, per_tenant=1), "me", *ports) for _ in range(2)]
    running = [asyncio.create_task(runner.run()) for runner in runners]
    async with asyncio.timeout(5):
        while len(begun) < 2:
            await asyncio.sleep(0)
    assert begun == ["large-1", "small"]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def stopped(setting: Setting, work: Work, begun: asyncio.Event, **more: Any) -> Control:
    """The control document after a runner was told to end in the middle of its work."""
    running = asyncio.create_task(setting.runner(work, **more).run())
    await begun.wait()
    running.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait({running})
    assert running.cancelled()
    return setting.control


async def test_a_process_that_is_told_to_end_gives_its_lease_back_and_no_attempt_is_counted(setting: Setting) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work(_lease: Lease) -> list[Event]:
        begun.set()
        try:
            return await asyncio.Future[list[Event]]()
        finally:
            assert setting.control.holder == "me"
            ended.set()  # its child is gone before anybody else can begin

    control = await stopped(setting, work, begun)
    assert ended.is_set()
    assert (control.holder, control.attempts, control.waits) == (None, 0, 0)
    assert await setting.controls.claimable() == {"train"}


async def test_work_that_can_rest_has_its_grace_to_do_so(setting: Setting) -> None:
    begun, saved = asyncio.Event(), asyncio.Event()

    async def work(lease: Lease) -> list[Event]:
        begun.set()
        await lease.changed()
        await asyncio.sleep(0)
        saved.set()
        return []

    control = await stopped(setting, work, begun, grace=60.0)
    assert saved.is_set()
    assert (control.holder, control.attempts) == (None, 0)
    assert await setting.controls.claimable() == {"train"}


async def test_what_ends_within_its_grace_has_ended(setting: Setting) -> None:
    begun = asyncio.Event()

    async def work(lease: Lease) -> list[Event]:
        begun.set()
        await lease.changed()
        return [make(JobCancelled(), subject=JOB, tenant="local", id=derived_id(JOB, "end"))]

    control = await stopped(setting, work, begun, grace=60.0)
    assert control.ended
    assert [event.type for event in setting.emit.events] == ["job.cancelled"]
