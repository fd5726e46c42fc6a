"""One attempt at a job, in memory: what is stored and said, what it waits for, what the next attempt goes on from."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from contracts.events.jobs import JobFailed
from contracts.ports import LostLeaseError, ProofFailedError, UnavailableError
from functions.train_model import work as training
from functions.train_model.work import ChildDiedError
from infra.runtime.leases import HeldLease
from tests.unit.train_model.setting import JOB, STEPS, Scripted, Setting, progressed, whole

AWAY = UnavailableError("serving", "the serving process does not answer")


@pytest.fixture
async def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    async def at_once(_seconds: float, nap: Any = asyncio.sleep) -> None:
        await nap(0)

    monkeypatch.setattr(training.asyncio, "sleep", at_once)
    return await Setting(tmp_path).ready()


def steps(setting: Setting) -> list[int]:
    """The steps whose metrics were said, in order."""
    return [step.step for data in setting.of("job.progressed") for step in data.steps]


async def test_a_job_that_is_trained_and_proven_ends_with_its_files_its_model_and_its_success(setting: Setting) -> None:
    events = await setting.attempt(*whole())
    assert [event.type for event in events] == ["file.uploaded", "file.uploaded", "model.registered", "job.succeeded"]
    assert steps(setting) == [1, 2, 3, 4]
    assert [data.step for data in setting.of("job.checkpointed")] == [2, 4]
    assert [each.step for each in setting.controls.controls[JOB].checkpoints] == [2, 4]
    assert list((setting.folder / "scratch").iterdir()) == []


@pytest.mark.parametrize("topic", ["job.checkpointed", "job.progressed"])
async def test_training_outlives_a_kafka_that_is_away_at_a_checkpoint(setting: Setting, topic: str) -> None:
    async def away() -> None:
        setting.emit.away[topic] = 3

    script = whole()
    events = await setting.attempt(script[0], script[1], script[2], away, *script[3:])
    assert events[-1].type == "job.succeeded"
    assert [data.step for data in setting.of("job.checkpointed")] == [2, 4]
    assert steps(setting) == [1, 2, 3, 4]


async def test_the_metrics_of_a_checkpoint_are_said_before_it_is(setting: Setting) -> None:
    setting.emit.away["job.progressed"] = 2
    await setting.attempt(*whole())
    said = [event.type for event in setting.emit.events if event.type in ("job.progressed", "job.checkpointed")]
    assert said == ["job.progressed", "job.checkpointed"] * 2


async def test_a_lost_lease_ends_the_attempt_at_its_next_checkpoint(setting: Setting) -> None:
    lease = HeldLease(setting.controls, await setting.claim())

    async def lose() -> None:
        await setting.controls.release(lease.claim)

    script = whole()
    child = Scripted([*script[:3], lose, *script[3:]])
    with pytest.raises(LostLeaseError):
        await setting.work(lease, child)
    assert child.stopped
    assert setting.of("job.checkpointed") == []


async def test_a_process_that_dies_is_told_of_at_once_and_the_next_goes_on_from_its_checkpoint(
    setting: Setting,
) -> None:
    with pytest.raises(ChildDiedError, match="status -9"):
        await setting.attempt(*whole()[:5])  # died after step 3
    delay = await setting.delay()
    assert delay["code"] == "interrupted"
    assert "Attempt 1 ended early" in delay["message"]
    assert "Traceback" not in delay["message"]
    events = await setting.attempt(*whole(first=3))
    assert events[-1].type == "job.succeeded"
    assert [data.from_step for data in setting.of("job.started")] == [0, 2]
    assert await setting.delay() is None
    assert steps(setting) == [1, 2, 3, 4]


async def test_an_unexpected_exception_of_the_recipe_is_a_crash_and_a_refusal_is_final(setting: Setting) -> None:
    with pytest.raises(ChildDiedError, match="OSError: the disk is slow"):
        await setting.attempt(*whole()[:4], {"type": "crashed", "message": "OSError: the disk is slow"})
    (ending,) = await setting.attempt({"type": "failed", "code": "nan_loss", "message": "The loss of step 3 is nan."})
    assert isinstance(ending.data, JobFailed)
    assert ending.data.code == "nan_loss"
    assert [data.from_step for data in setting.of("job.started")] == [0, 2]


async def test_a_job_waits_for_serving_with_one_line_and_fetches_nothing_again(setting: Setting) -> None:
    setting.proves = [AWAY] * 4
    with pytest.raises(UnavailableError):
        await setting.attempt(*whole())
    for attempt in range(3):
        setting.blobs.fetched.clear()
        with pytest.raises(UnavailableError):
            await setting.attempt()
        assert setting.blobs.fetched == ["metrics.jsonl"], attempt
        assert (await setting.delay())["code"] == "waiting_for_serving"
    assert len(setting.of("job.delayed")) == 1
    events = await setting.attempt()
    assert events[-1].type == "job.succeeded"
    assert len(setting.of("job.started")) == 1


async def test_a_changed_wait_is_said_again(setting: Setting) -> None:
    store = UnavailableError("minio")
    setting.proves = [AWAY, store, store, AWAY]
    for script in (whole(), [], [], []):
        with pytest.raises(UnavailableError):
            await setting.attempt(*script)
    codes = ["waiting_for_serving", "waiting_for_minio", "waiting_for_serving"]
    assert [data.code for data in setting.of("job.delayed")] == codes


async def test_a_last_checkpoint_that_is_damaged_is_left_for_the_one_before(setting: Setting) -> None:
    setting.proves = [RuntimeError("the trainer was killed here")]
    with pytest.raises(RuntimeError, match="killed"):
        await setting.attempt(*whole())
    last = setting.controls.controls[JOB].checkpoints[-1]
    await setting.blobs.put(last.manifest.key.replace("manifest.json", "adapter_model.safetensors"), b"other bytes")
    events = await setting.attempt(*whole(first=3))
    assert [data.from_step for data in setting.of("job.started")] == [0, 2]
    assert events[-1].type == "job.succeeded"


async def test_a_model_that_serving_refuses_fails_the_job(setting: Setting) -> None:
    setting.proves = [ProofFailedError("not_finite", "lm_head holds NaN")]
    (ending,) = await setting.attempt(*whole())
    assert isinstance(ending.data, JobFailed)
    assert ending.data.code == "not_finite"


@pytest.mark.parametrize("desired", ["pause", "run"])
async def test_a_pause_or_the_end_of_the_process_asks_for_a_checkpoint_and_the_job_rests(
    setting: Setting, desired: str
) -> None:
    lease = HeldLease(setting.controls, await setting.claim())
    asked = asyncio.Event()

    async def wish() -> None:
        if desired == "pause":
            await setting.controls.desire(JOB, "pause", "r1")
            await lease.refresh()
        lease.leave()
        while not child.said:
            await asyncio.sleep(0)
        asked.set()

    said = [progressed(1), wish, {"type": "checkpointed", "step": 1}, {"type": "paused", "step": 1}]
    child = Scripted(said)
    assert await setting.work(lease, child) == ()
    assert asked.is_set()
    assert child.said == ["pause"]
    assert [each.step for each in setting.controls.controls[JOB].checkpoints] == [1]
    assert len(setting.of("job.paused")) == (desired == "pause")


async def test_five_hundred_steps_go_into_one_event(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.outcome, "MAX_STEPS_PER_EVENT", 2)
    setting.emit.away["job.progressed"] = 1
    script: Any = [progressed(step) for step in range(1, STEPS)]
    with pytest.raises(ChildDiedError):
        await setting.attempt(*script, {"type": "checkpointed", "step": 3})
    assert [len(data.steps) for data in setting.of("job.progressed")] == [2, 1]
