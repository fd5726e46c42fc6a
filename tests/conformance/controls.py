"""What every implementation of the `Controls` port does; a subclass gives the fixture `controls`."""

import asyncio

import pytest

from contracts.controls import Checkpoint, Claim
from contracts.envelope import Event, PoisonError, UnsayableError, derived_id, make
from contracts.events.jobs import JobCancelled, JobFailed
from contracts.manifest import ManifestRef
from contracts.ports import Controls, LostLeaseError

JOB = "ftjob-1"
REF = ManifestRef(key=f"local/{JOB}/m", sha256="0" * 64)


def ending(code: str = "x") -> Event:
    return make(JobFailed(code=code, message="m"), subject=JOB, tenant="local", id=derived_id(JOB, "end"))


def checkpoint(step: int, fence: int = 1, ref: ManifestRef = REF) -> Checkpoint:
    return Checkpoint(step=step, manifest=ref, epoch_end=False, fence=fence)


async def claimed(controls: Controls, stage: str = "train") -> Claim:
    claim = await controls.claim(stage, "h")
    assert claim is not None
    return claim


class ControlsSuite:
    async def test_of_many_claims_one_wins_and_the_fence_grows(self, controls: Controls) -> None:
        await controls.open(JOB, "local", "train", {"a": {"b.c": "$x"}})
        claims = await asyncio.gather(*(controls.claim("train", f"h{n}") for n in range(20)))
        (won,) = [claim for claim in claims if claim is not None]
        assert won.fence == 1
        assert won.control.inputs == {"a": {"b.c": "$x"}}
        await controls.release(won)
        again = await claimed(controls)
        assert again.fence == 2
        with pytest.raises(LostLeaseError):
            await controls.heartbeat(won)

    async def test_a_tenant_with_few_things_does_not_wait_for_one_with_many(self, controls: Controls) -> None:
        for number in range(6):
            await controls.open(f"doc-many-{number}", "many", "read", {})
        for number in range(2):
            await controls.open(f"doc-few-{number}", "few", "read", {})
        claims = [await controls.claim("read", "h") for _ in range(9)]
        order = [claim.subject for claim in claims if claim]
        assert order[:4] == ["doc-many-0", "doc-few-0", "doc-many-1", "doc-few-1"]
        assert order[4:] == [f"doc-many-{number}" for number in range(2, 6)]
        assert claims[8] is None

    async def test_a_tenant_never_holds_more_than_its_share_of_a_process(self, controls: Controls) -> None:
        for number in range(5):
            await controls.open(f"doc-a-{number}", "a", "read", {})
        claims = await asyncio.gather(*(controls.claim("read", "h", per_tenant=2) for _ in range(5)))
        held = [claim for claim in claims if claim]
        assert len(held) == 2
        await controls.open("doc-b", "b", "read", {})
        claim = await controls.claim("read", "h", per_tenant=2)
        assert claim is not None
        assert claim.subject == "doc-b"
        assert await controls.claim("read", "h", per_tenant=2) is None
        assert await controls.claim("read", "another process", per_tenant=2) is not None
        await controls.release(held[0])
        assert await controls.claim("read", "h", per_tenant=2) is not None

    async def test_an_unready_thing_is_not_claimed_until_it_is_ready(self, controls: Controls) -> None:
        await controls.open(JOB, "local", "prepare", {}, ready=False)
        assert await controls.claim("prepare", "h") is None
        assert await controls.claimable() == set()
        await controls.open(JOB, "local", "prepare", {"n": 1}, ready=True)
        await controls.open("ftjob-2", "local", "train", {})
        assert await controls.claimable() == {"prepare", "train"}
        claim = await claimed(controls, "prepare")
        assert claim.control.inputs == {"n": 1}
        assert await controls.claimable() == {"train"}
        await controls.release(claim, retry_after=60)
        assert await controls.claimable() == {"train"}

    async def test_another_tenants_document_is_not_opened(self, controls: Controls) -> None:
        await controls.open(JOB, "local", "prepare", {}, ready=False)
        with pytest.raises(PoisonError, match="not of tenant other"):
            await controls.open(JOB, "other", "prepare", {"n": 1})
        found = await controls.get(JOB)
        assert found is not None
        assert (found.tenant, found.ready) == ("local", False)

    async def test_of_two_endings_the_first_is_the_outcome_for_everybody(self, controls: Controls) -> None:
        await controls.open(JOB, "local", "train", {})
        claim = await claimed(controls)
        cancelled = make(JobCancelled(), subject=JOB, tenant="local", id=derived_id(JOB, "end"))
        won = await controls.end(JOB, [cancelled])
        assert [event.type for event in won.events] == ["job.cancelled"]
        late = await controls.end(JOB, [ending()], claim)
        assert [event.type for event in late.events] == ["job.cancelled"]
        with pytest.raises(LostLeaseError):
            await controls.heartbeat(claim)
        assert await controls.claim("train", "h") is None

    async def test_what_cannot_be_said_is_not_recorded(self, controls: Controls) -> None:
        await controls.open(JOB, "local", "train", {})
        claim = await claimed(controls)
        huge = JobFailed.model_construct(code="c", message="x" * 2**18, param=None)
        event = make(huge, subject=JOB, tenant="local", id="1")
        with pytest.raises(UnsayableError):
            await controls.end(JOB, [event], claim)
        with pytest.raises(UnsayableError):
            await controls.advance(claim, "next", {}, [event])
        found = await controls.get(JOB)
        assert found is not None
        assert (found.ended, found.stage, found.events) == (False, "train", ())

    async def test_a_holder_without_its_lease_cannot_end_the_thing(self, controls: Controls) -> None:
        await controls.open(JOB, "local", "train", {})
        old = await claimed(controls)
        await controls.release(old)
        new = await claimed(controls)
        with pytest.raises(LostLeaseError):
            await controls.end(JOB, [ending()], old)
        assert (await controls.end(JOB, [ending()], new)).ended

    async def test_checkpoints_only_go_forward_and_forgive_earlier_attempts(self, controls: Controls) -> None:
        await controls.open(JOB, "local", "train", {})
        claim = await claimed(controls)
        await controls.checkpoint(claim, checkpoint(10))
        await controls.checkpoint(claim, checkpoint(20))
        with pytest.raises(LostLeaseError):
            await controls.checkpoint(claim, checkpoint(15))
        control = await controls.get(JOB)
        assert control is not None
        assert [each.step for each in control.checkpoints] == [10, 20]
        assert control.attempts == 0

    async def test_the_same_checkpoint_again_is_success_and_another_of_its_step_is_refused(
        self, controls: Controls
    ) -> None:
        await controls.open(JOB, "local", "train", {})
        claim = await claimed(controls)
        for step in (10, 20, 10, 20):
            await controls.checkpoint(claim, checkpoint(step))
        other = REF.model_copy(update={"sha256": "1" * 64})
        for refused in (checkpoint(20, ref=other), checkpoint(20, fence=2)):
            with pytest.raises(LostLeaseError):
                await controls.checkpoint(claim, refused)
        await controls.release(claim)
        with pytest.raises(LostLeaseError):  # whoever has no lease is told so, whatever it says
            await controls.checkpoint(claim, checkpoint(20))
        control = await controls.get(JOB)
        assert control is not None
        assert [each.step for each in control.checkpoints] == [10, 20]

    async def test_every_write_of_a_holder_may_be_repeated(self, controls: Controls) -> None:
        await controls.open(JOB, "local", "prepare", {})
        claim = await claimed(controls, "prepare")
        for value in (1, 2):
            assert await controls.record(claim, "n", value) == 1
        await controls.checkpoint(claim, checkpoint(10))
        for _ in range(2):
            await controls.drop_checkpoint(claim, 10)
        for _ in range(2):
            await controls.advance(claim, "train", {"n": 2}, [ending("queued")])
        with pytest.raises(LostLeaseError):
            await controls.advance(claim, "train", {"n": 2}, [ending("other")])
        claim = await claimed(controls)
        assert claim.control.inputs == {"n": 2}
        for _ in range(2):
            assert len((await controls.end(JOB, [ending()], claim)).events) == 2
        for count in (2, 2, 1):
            await controls.published(JOB, count)
        control = await controls.get(JOB)
        assert control is not None
        assert control.published == 2

    async def test_inputs_and_what_is_recorded_come_back_as_json_that_nobody_else_changes(
        self, controls: Controls
    ) -> None:
        inputs, value = {"a": (1, 2)}, {"b": (3,), "$c.d": None}
        await controls.open(JOB, "local", "prepare", inputs)
        claim = await claimed(controls, "prepare")
        assert await controls.record(claim, "n", value) == {"b": [3], "$c.d": None}
        inputs.clear()
        value.clear()
        control = await controls.get(JOB)
        assert control is not None
        assert (control.inputs, control.recorded) == ({"a": [1, 2]}, {"n": {"b": [3], "$c.d": None}})
        await controls.advance(claim, "train", {"e": (4,)}, [])
        assert (await claimed(controls)).control.inputs == {"e": [4]}

    async def test_what_is_given_back_says_why_and_waits_are_counted_until_a_step_is_made(
        self, controls: Controls
    ) -> None:
        await controls.open(JOB, "local", "train", {})
        for waits in range(3):
            claim = await claimed(controls)
            assert (claim.control.waits, claim.control.attempts) == (waits, 1)
            await controls.release(claim, forgive=True, why="serving is away")
        claim = await claimed(controls)
        assert claim.control.why == "serving is away"
        await controls.checkpoint(claim, checkpoint(10, claim.fence))
        await controls.release(claim, why="a bug")
        claim = await claimed(controls)
        assert (claim.control.waits, claim.control.attempts, claim.control.why) == (0, 1, "a bug")

    async def test_a_desire_opens_one_epoch_per_request(self, controls: Controls) -> None:
        await controls.open(JOB, "local", "train", {})
        first = await controls.desire(JOB, "pause", "r1")
        repeated = await controls.desire(JOB, "pause", "r1")
        assert first is not None
        assert repeated is not None
        assert (first.epoch, repeated.epoch) == (2, 2)
        assert await controls.claim("train", "h") is None
        resumed = await controls.desire(JOB, "run", "r2")
        assert resumed is not None
        assert resumed.epoch == 3
        assert (await controls.claim("train", "h")) is not None
        await controls.end(JOB, [ending()])
        assert await controls.desire(JOB, "pause", "r3") is None
