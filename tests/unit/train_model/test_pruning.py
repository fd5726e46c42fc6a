"""Checkpoints of a running job: two to go on from, and what its models will need; whatever dies, it goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from contracts.controls import Checkpoint
from contracts.events.jobs import JobCancelled
from contracts.manifest import ManifestRef
from contracts.ports import BlobMismatchError, LostLeaseError
from functions.train_model.kept_checkpoints import KEPT_EPOCHS, only_weights, resumable, superfluous
from infra.runtime.leases import HeldLease
from tests.functional.edge import plan
from tests.unit.train_model.setting import JOB, Scripted, Setting, progressed

PREFIX = f"local/{JOB}/ckpt/"
EPOCH = 10
WEIGHTS, RESUME, METRICS, MANIFEST = "adapter_model.safetensors", "resume.safetensors", "metrics.jsonl", "manifest.json"


class KilledError(BaseException):
    """The process is gone: nothing catches this."""


def script(total: int, first: int = 1) -> list[dict[str, Any]]:
    """What a process says that saves after every step, with an epoch's end at every tenth and the last."""
    said: list[dict[str, Any]] = [{"type": "started"}]
    for step in range(first, total + 1):
        said += [
            progressed(step),
            {"type": "checkpointed", "step": step, "epoch_end": step % EPOCH == 0 or step == total},
        ]
    return [*said, {"type": "finished"}]


async def setting_of(folder: Path, total: int) -> Setting:
    return await Setting(folder, plan=plan(total)).ready()


async def stored(setting: Setting) -> dict[int, set[str]]:
    """Step → the names of its checkpoint's files that are there."""
    found: dict[int, set[str]] = {}
    for key in await setting.blobs.list(PREFIX):
        _, step, name = key.removeprefix(PREFIX).split("/")
        found.setdefault(int(step), set()).add(name)
    return found


def checkpoint(step: int, epoch_end: bool = False, fence: int = 1) -> Checkpoint:
    ref = ManifestRef(key=f"{PREFIX}{fence}/{step}/manifest.json", sha256="0" * 64)
    return Checkpoint(step=step, manifest=ref, epoch_end=epoch_end, fence=fence)


def test_the_newest_two_stay_whole_and_of_the_last_epochs_what_their_models_need() -> None:
    known = [checkpoint(step, step % EPOCH == 0) for step in range(5, 95, 5)]
    assert [each.step for each in resumable(known)] == [90, 85]
    assert [each.step for each in only_weights(known)] == [70, 80]


def test_what_a_later_attempt_has_stored_is_never_superfluous() -> None:
    keys = [f"{PREFIX}1/5/x", f"{PREFIX}1/50/x", f"{PREFIX}2/6/x", f"{PREFIX}10/7/x"]
    assert superfluous(keys, PREFIX, 2, [f"{PREFIX}1/50/"], []) == [keys[0], keys[2]]
    assert superfluous(keys, PREFIX, 2, [f"{PREFIX}1/5/"], [keys[2]]) == [keys[1]]


async def test_a_job_of_many_checkpoints_never_holds_more_than_a_few_and_ends_with_two_and_its_models(
    tmp_path: Path,
) -> None:
    total, seen = 120, list[int]()
    setting = await setting_of(tmp_path, total)

    async def look() -> None:
        seen.append(sum(len(names) for names in (await stored(setting)).values()))

    said = [each for message in script(total) for each in (message, look)]
    assert (await setting.attempt(*said))[-1].type == "job.succeeded"
    most = 2 * 4 + KEPT_EPOCHS * 2
    assert max(seen) <= most
    whole, model = {WEIGHTS, RESUME, METRICS, MANIFEST}, {WEIGHTS, MANIFEST}
    assert await stored(setting) == {100: model, 110: model, 119: whole, 120: whole}
    assert len(setting.of("job.checkpointed")) == total


class Fatal:
    """Kills the trainer at the n-th thing that it does to a store."""

    def __init__(self, setting: Setting, at: int) -> None:
        self.left, self.done = at, list[str]()
        for target, names in (
            (setting.blobs, ("put", "remove", "get", "list")),
            (setting.controls, ("checkpoint", "heartbeat")),
            (setting, ("emit",)),
        ):
            for name in names:
                setattr(target, name, self._counted(name, getattr(target, name)))

    def _counted(self, name: str, call: Any) -> Any:
        async def counted(*args: Any, **more: Any) -> Any:
            self.left -= 1
            self.done.append(name)
            if self.left == 0:
                raise KilledError(name)
            return await call(*args, **more)

        vars(counted).update(getattr(call, "__dict__", {}))  # what an Emit remembers
        return counted


async def deaths(folder: Path) -> int:
    """How many things a trainer does to its stores between its start and the end of step 4."""
    setting = await setting_of(folder, 4)
    counting = Fatal(setting, -1)
    await setting.attempt(*script(4))
    return len(counting.done)


async def test_a_trainer_that_is_killed_at_any_point_is_followed_by_one_that_goes_on(tmp_path: Path) -> None:
    count, resumed = await deaths(tmp_path), set[int]()
    for at in range(1, count + 1):
        setting = await setting_of(tmp_path, 4)
        fatal = Fatal(setting, at)
        with pytest.raises(KilledError):
            await setting.attempt(*script(4))
        fatal.left = -1
        visible = [each.step for each in setting.controls.controls[JOB].checkpoints]
        from_step = visible[-1] if visible else 0
        events = await setting.attempt(*(script(4, from_step + 1) if from_step < 4 else []))
        assert events[-1].type == "job.succeeded", (at, fatal.done[at - 1])
        if from_step < 4:
            assert setting.of("job.started")[-1].from_step == from_step, (at, fatal.done[at - 1])
            if from_step < 3:  # another checkpoint came, and with it what the dead one left went
                assert set(await stored(setting)) == {3, 4}, (at, fatal.done[at - 1])
        resumed.add(from_step)
    assert resumed == {0, 1, 2, 3, 4}


async def test_the_one_before_stays_until_the_newest_reads_back_as_it_was(tmp_path: Path) -> None:
    setting = await setting_of(tmp_path, 4)
    stream = setting.blobs.stream

    async def torn(key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        async for chunk in stream(key, offset, length):
            yield b"torn" if f"/3/{WEIGHTS}" in key else chunk

    setting.blobs.stream = torn  # type: ignore[method-assign]
    with pytest.raises(BlobMismatchError):
        await setting.attempt(*script(4))
    setting.blobs.stream = stream  # type: ignore[method-assign]
    assert [each.step for each in setting.controls.controls[JOB].checkpoints] == [1, 2]
    assert (await stored(setting)).keys() >= {1, 2}
    assert (await setting.attempt(*script(4, 3)))[-1].type == "job.succeeded"
    assert setting.of("job.started")[-1].from_step == 2


async def test_a_control_document_that_was_put_back_is_no_reason_to_begin_again(tmp_path: Path) -> None:
    setting = await setting_of(tmp_path, 6)
    with pytest.raises(Exception, match="status -9"):
        await setting.attempt(*script(5)[:-1])
    control = setting.controls.controls[JOB]
    old: Sequence[Checkpoint] = [checkpoint(1), checkpoint(2)]
    setting.controls._set(control, checkpoints=tuple(old))
    events = await setting.attempt(*script(6, 6))
    assert events[-1].type == "job.succeeded"
    assert setting.of("job.started")[-1].from_step == 5


@pytest.mark.parametrize("status", ["cancelled", "running"])
async def test_a_checkpoint_that_comes_after_a_cancel_goes_again_and_one_without_a_lease_is_left(
    tmp_path: Path, status: str
) -> None:
    setting = await setting_of(tmp_path, 4)
    lease = HeldLease(setting.controls, await setting.claim())

    async def lose() -> None:
        if status == "cancelled":
            await setting.say(JobCancelled(reason="requested"), "end")
        await setting.controls.release(lease.claim)

    with pytest.raises(LostLeaseError):
        await setting.work(lease, Scripted([*script(2)[:2], lose, *script(2)[2:]]))
    assert (await stored(setting) == {}) == (status == "cancelled")
