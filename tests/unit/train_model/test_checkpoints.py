"""What an attempt brings to its machine and goes on from, and what it stores, while stores fail now and then."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from contracts.canonical import sha256
from contracts.events.jobs import JobFailed, Tuning
from contracts.manifest import Manifest
from contracts.ports import BlobMismatchError, UnavailableError
from functions.train_model import work as training
from functions.train_model.work import ChildDiedError
from infra.runtime.leases import HeldLease
from tests.functional.edge import plan
from tests.unit.train_model.setting import JOB, STEPS, Scripted, Setting, progressed, whole

BY_STEP_3 = whole()[:5]
"""What a process says that dies after step 3: it has kept step 2."""


@pytest.fixture
async def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    async def at_once(_seconds: float, nap: Any = asyncio.sleep) -> None:
        await nap(0)

    monkeypatch.setattr(training.asyncio, "sleep", at_once)
    return await Setting(tmp_path).ready()


async def test_the_recipe_is_handed_the_plan_and_finds_its_files(setting: Setting) -> None:
    seen: dict[str, bytes] = {}

    async def look() -> None:
        asked = child.plan
        seen.update(base=(Path(asked["model_dir"]) / "model.safetensors").read_bytes())
        seen.update(train=Path(asked["train"]).read_bytes())

    child = Scripted([look, *whole()])
    await setting.work(HeldLease(setting.controls, await setting.claim()), child)
    assert seen == {"base": b"base", "train": b"tokens"}
    planned, asked = setting.plan, child.plan
    for name in ("n_epochs", "batch_size", "learning_rate", "warmup_steps", "seed", "checkpoint_every"):
        assert asked[name] == getattr(planned, name), name
    assert asked["method"] == {**Tuning().model_dump(), "target_modules": "all-linear"}
    assert (asked["job"], asked["device"], asked["valid"], asked["resume_dir"]) == (JOB, "cpu", None, None)


async def test_rows_to_validate_on_are_brought_where_the_plan_has_some(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    valid = await setting.blobs.put(f"local/{JOB}/valid", b"valid tokens")
    setting.plan = plan(STEPS).model_copy(update={"valid": valid, "valid_rows": 1})
    await setting.ready()
    seen: list[bytes] = []

    async def look() -> None:
        seen.append(Path(child.plan["valid"]).read_bytes())

    child = Scripted([look, *whole()])
    await setting.work(HeldLease(setting.controls, await setting.claim()), child)
    assert seen == [b"valid tokens"]


async def test_a_base_that_is_on_this_machine_is_not_fetched_again(setting: Setting) -> None:
    with pytest.raises(ChildDiedError):
        await setting.attempt(*BY_STEP_3)
    assert "model.safetensors" in setting.blobs.fetched
    setting.blobs.fetched.clear()
    await setting.attempt(*whole(first=3))
    assert "model.safetensors" not in setting.blobs.fetched


@pytest.mark.parametrize("name", ["manifest.json", "adapter_model.safetensors", "resume.safetensors", "metrics.jsonl"])
@pytest.mark.parametrize("damage", ["lost", "other bytes"])
async def test_a_checkpoint_with_a_lost_or_damaged_file_is_forgotten_and_the_job_begins_anew(
    setting: Setting, name: str, damage: str
) -> None:
    with pytest.raises(ChildDiedError):
        await setting.attempt(*BY_STEP_3)
    key = f"local/{JOB}/ckpt/1/2/{name}"
    assert await setting.blobs.stat(key) is not None
    if damage == "lost":
        await setting.blobs.delete(key)
    else:
        await setting.blobs.put(key, b"{}")
    with pytest.raises(ChildDiedError):
        await setting.attempt(*BY_STEP_3[:2])
    assert setting.controls.controls[JOB].checkpoints == ()
    assert [data.from_step for data in setting.of("job.started")] == [0, 0]


async def test_a_checkpoint_holds_what_the_process_made_and_every_metric_up_to_it(setting: Setting) -> None:
    with pytest.raises(ChildDiedError):
        await setting.attempt(*BY_STEP_3)
    (kept,) = setting.controls.controls[JOB].checkpoints
    content = await setting.blobs.get(kept.manifest.key)
    assert sha256(content) == kept.manifest.sha256
    manifest = Manifest.model_validate_json(content)
    assert (manifest.step, manifest.kind, manifest.base) == (2, "adapter", setting.plan.base)
    roles = {file.path: file.role for file in manifest.files}
    assert roles == {"adapter_model.safetensors": "weights", "metrics.jsonl": "resume", "resume.safetensors": "resume"}
    for file in manifest.files:
        assert sha256(await setting.blobs.get(file.key)) == file.sha256
    lines = (await setting.blobs.get(f"local/{JOB}/ckpt/1/2/metrics.jsonl")).splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


async def test_training_outlives_an_object_store_that_is_away_at_a_checkpoint(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, away = setting.blobs.store, [UnavailableError("minio")] * 3

    async def sometimes(*arguments: Any) -> Any:
        if away:
            raise away.pop()
        return await store(*arguments)

    monkeypatch.setattr(setting.blobs, "store", sometimes)
    events = await setting.attempt(*whole())
    assert events[-1].type == "job.succeeded"
    assert away == []
    assert [data.step for data in setting.of("job.checkpointed")] == [2, 4]


async def test_a_file_that_changes_before_it_is_stored_makes_no_checkpoint(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = setting.blobs.store

    async def changed(key: str, path: Path, *more: Any) -> Any:
        path.write_bytes(b"other bytes")
        return await store(key, path, *more)

    monkeypatch.setattr(setting.blobs, "store", changed)
    with pytest.raises(BlobMismatchError, match="changed between the child and the store"):
        await setting.attempt(*whole())
    assert setting.controls.controls[JOB].checkpoints == ()
    assert setting.of("job.checkpointed") == []


@pytest.mark.parametrize("delays_away", [0, 1])
async def test_no_process_begins_before_its_start_is_said(setting: Setting, delays_away: int) -> None:
    setting.emit.away = {"job.started": 1, "job.delayed": delays_away}
    lease, child = HeldLease(setting.controls, await setting.claim()), Scripted(whole())
    with pytest.raises(UnavailableError, match="kafka"):
        await setting.work(lease, child)
    assert child.plan == {}, "it was not started"
    delay = await setting.delay()
    assert delay is None if delays_away else delay["code"] == "waiting_for_kafka"


async def test_a_wait_that_cannot_be_said_is_a_wait_all_the_same(setting: Setting) -> None:
    setting.proves, setting.emit.away = [UnavailableError("serving")], {"job.delayed": 1}
    with pytest.raises(UnavailableError, match="serving"):
        await setting.attempt(*whole())
    assert setting.of("job.delayed") == []
    assert (await setting.attempt())[-1].type == "job.succeeded"


async def test_a_refusal_of_the_recipe_is_the_end_although_kafka_is_away(setting: Setting) -> None:
    setting.emit.away = {"job.progressed": 9}
    failed = {"type": "failed", "code": "nan_loss", "message": "The loss of step 2 is nan."}
    (ending,) = await setting.attempt({"type": "started"}, progressed(1), failed)
    assert isinstance(ending.data, JobFailed)
    assert (ending.data.code, ending.attempt) == ("nan_loss", 1)


async def test_metrics_are_said_while_no_checkpoint_comes(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "FLUSH_SECONDS", 0.01)

    async def said() -> None:
        while not setting.of("job.progressed"):
            await asyncio.sleep(0)

    script = whole()
    await setting.attempt(*script[:2], said, *script[2:])
    assert [step.step for step in setting.of("job.progressed")[0].steps] == [1]


async def test_each_epochs_model_is_proven_on_the_ids_of_training_and_registered_the_last_one_last(
    setting: Setting,
) -> None:
    script = [each | {"epoch_end": True} if each["type"] == "checkpointed" else each for each in whole()]
    events = await setting.attempt(*script)
    kept = [each.manifest for each in setting.controls.controls[JOB].checkpoints]
    assert setting.proved == [(manifest, [{"role": "user", "content": "q"}], None, [1, 2]) for manifest in kept]
    registered: list[Any] = [event for event in events if event.type == "model.registered"]
    assert [(event.data.step, event.data.manifest) for event in registered] == list(zip((2, 4), kept, strict=True))
    assert registered[0].subject.endswith(":ckpt-step-2")
    assert events[-1].data.model_dump()["fine_tuned_model"] == registered[1].subject
    assert [event.data.metrics.step for event in registered] == [2, 4]


async def test_the_result_files_hold_the_steps_of_every_attempt_once(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, ahead = asyncio.get_running_loop(), [0.0]
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + ahead[0])

    async def five_seconds_pass() -> None:
        ahead[0] += 5

    with pytest.raises(ChildDiedError):
        await setting.attempt(BY_STEP_3[0], five_seconds_pass, *BY_STEP_3[1:])
    events = await setting.attempt(*whole(first=3))
    csv, jsonl = [await setting.blobs.get(event.data.model_dump()["blob"]["key"]) for event in events[:2]]
    assert [line.split(b",")[:2] for line in csv.splitlines()[1:]] == [
        [b"%d" % step, b"%.5f" % (1 / step)] for step in range(1, STEPS + 1)
    ]
    assert [json.loads(line)["iteration"] for line in jsonl.splitlines()] == [1, 2, 3, 4]
    elapsed = [step.elapsed for data in setting.of("job.progressed") for step in data.steps]
    assert 5 <= elapsed[0] <= elapsed[1] <= elapsed[2], "a resumed run goes on counting"
    assert elapsed[1] <= elapsed[3]
    ending: Any = events[-1].data
    assert (ending.step, ending.trained_tokens) == (STEPS, STEPS)
    assert ending.prompt_sha256 == sha256(b"[1,2]")


async def test_a_process_that_has_finished_without_its_last_checkpoint_is_no_success(setting: Setting) -> None:
    with pytest.raises(ValueError, match=f"no checkpoint at the last step {STEPS}"):
        await setting.attempt(*whole()[:4], {"type": "finished"})
