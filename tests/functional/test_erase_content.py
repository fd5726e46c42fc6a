"""P7: a deletion reaches the copies of a file's content: a job's tokens, benchmarks, what is written of them later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from contracts.controls import Control
from contracts.envelope import Event, make
from contracts.events.benchmarks import BenchmarkRequested
from contracts.events.files import FileDeleted, FileUploaded
from contracts.events.jobs import JobCancelled, JobCreated, JobSucceeded
from contracts.events.models import ModelDeleted, ModelRegistered
from contracts.manifest import Manifest, ManifestFile, ManifestRef
from contracts.ports import AbandonedError, UnavailableError
from functions.erase_content.handler import ErasurePorts, on_event
from infra.runtime.deleted_files import ErasingBlobs
from tests.functional.edge import BASE, World

FILE, OTHER, JOB, BENCH = "file-1", "file-2", "ftjob-1", "bench-1"
OF_JOB = ("tokens/train.safetensors", "probe.json", "ckpt/1/10/adapter_model.safetensors")


class Place(World):
    """A file, a job on it that made blobs, and benchmarks of it and of another file."""

    async def fill(self, ended: bool = True) -> None:
        for file in (FILE, OTHER):
            blob = await self.blobs.put(f"acme/{file}/content", b"x")
            await self.say(FileUploaded(blob=blob, filename="a.jsonl", purpose="fine-tune"), file, "acme")
        await self.say(JobCreated(model=BASE, training_file=FILE), JOB, "acme")
        if ended:
            await self.say(JobCancelled(reason="requested"), JOB, "acme")
        for bench, roles in ((BENCH, {"file": FILE}), ("bench-2", {"file": OTHER}), ("bench-3", {"forgetting": FILE})):
            await self.say(BenchmarkRequested(models={}, base_name=BASE, **roles), bench, "acme")
            await self.blobs.put(f"acme/{bench}/suite.jsonl", b"x")
        for name in OF_JOB:
            await self.blobs.put(f"acme/{JOB}/{name}", b"x")

    @property
    def erasing(self) -> ErasurePorts:
        controls: Any = self.controls
        return ErasurePorts(self.documents, self.blobs, controls, self.publish)

    async def publish(self, control: Control) -> None:
        for event in control.events[control.published :]:
            await self.documents.apply(await self.emit(event))
        await self.controls.published(control.subject, len(control.events))

    async def checkpoint(self, step: int) -> ManifestRef:
        """Store a checkpoint as a trainer does."""
        prefix, files = f"acme/{JOB}/ckpt/1/{step}/", []
        for name, role in (("adapter_model.safetensors", "weights"), ("resume.safetensors", "resume")):
            ref = await self.blobs.put(prefix + name, f"{name} {step}".encode())
            files.append(ManifestFile(path=name, key=ref.key, sha256=ref.sha256, bytes=ref.bytes, role=role))  # type: ignore[arg-type]
        manifest = Manifest(kind="adapter", files=tuple(files), template_sha256="1" * 64, context=512, step=step)
        stored = await self.blobs.put(prefix + "manifest.json", manifest.encoded())
        return ManifestRef(key=stored.key, sha256=stored.sha256)

    async def model(self, name: str, step: int) -> ManifestRef:
        """Store a checkpoint and register it."""
        ref = await self.checkpoint(step)
        data = ModelRegistered(
            kind="adapter", manifest=ref, template_sha256="1" * 64, context=512, owned_by="acme", job=JOB, step=step
        )
        await self.say(data, name, "acme")
        return ref

    async def succeeded(self, name: str, ref: ManifestRef) -> Event:
        """Say that the job has succeeded with a model."""
        data = JobSucceeded(
            fine_tuned_model=name, manifest=ref, result_files=(), trained_tokens=1, step=20, prompt_sha256="0" * 64
        )
        return await self.say(data, JOB, "acme")

    async def checkpoints(self) -> set[str]:
        """What lies among the job's checkpoints."""
        prefix = f"acme/{JOB}/ckpt/"
        return {key.removeprefix(prefix) for key in await self.blobs.list(prefix)}

    async def kept(self) -> Sequence[str]:
        return [key.removeprefix("acme/") for key in await self.blobs.list("acme/")]


async def test_copies_of_a_deleted_file_go_and_weights_and_other_files_stay() -> None:
    place = Place()
    await place.fill()
    deleted = await place.say(FileDeleted(), FILE, "acme")
    for _ in range(2):  # the second time there is nothing left to do
        await on_event(deleted, place.erasing)
        assert await place.kept() == ["bench-2/suite.jsonl", f"{OTHER}/content", f"{JOB}/{OF_JOB[2]}"]
    assert place.topics().count("benchmark.failed") == 2


async def test_a_benchmark_at_work_ends_with_the_file_and_what_its_last_attempt_writes_goes_again() -> None:
    place = Place()
    await place.fill()
    await on_event(await place.say(FileDeleted(), FILE, "acme"), place.erasing)
    view = await place.documents.get("benchmarks", BENCH)
    assert view is not None
    assert view["failed"]["code"] == "file_deleted"
    assert FILE in view["failed"]["message"]
    with pytest.raises(AbandonedError):
        await ErasingBlobs(place.blobs, place.documents).put(f"acme/{BENCH}/answers/base-00000.jsonl", b"x")
    assert not await place.blobs.list(f"acme/{BENCH}/")


async def test_a_job_that_ends_after_the_deletion_keeps_nothing_of_the_file() -> None:
    place = Place()
    await place.fill(ended=False)
    await on_event(await place.say(FileDeleted(), FILE, "acme"), place.erasing)
    assert f"{JOB}/probe.json" in await place.kept(), "it is at work and needs them"
    await on_event(await place.say(JobCancelled(reason="requested"), JOB, "acme"), place.erasing)
    assert not [name for name in await place.kept() if name.startswith(JOB)]


async def test_the_end_of_a_job_whose_files_live_erases_its_checkpoints_and_an_unknown_one_is_waited_for() -> None:
    place = Place()
    await place.fill(ended=False)
    before = await place.kept()
    await on_event(await place.say(JobCancelled(reason="requested"), JOB, "acme"), place.erasing)
    assert await place.kept() == [name for name in before if name != f"{JOB}/{OF_JOB[2]}"]
    with pytest.raises(UnavailableError):
        await on_event(await place.say(JobCancelled(reason="requested"), "ftjob-9", "acme"), place.erasing)


async def test_a_job_that_has_succeeded_keeps_what_its_models_need_and_a_deleted_model_takes_its_bytes_along() -> None:
    place = Place()
    await place.fill(ended=False)
    await place.blobs.delete(f"acme/{JOB}/ckpt/")
    names = {step: f"ft:base:acme::{step}" for step in (10, 20)}
    kept = {step: await place.model(names[step], step) for step in (10, 20)}
    await place.checkpoint(30)
    ending = await place.succeeded(names[20], kept[20])
    for _ in range(2):
        await on_event(ending, place.erasing)
        assert await place.checkpoints() == {
            f"1/{step}/{name}" for step in (10, 20) for name in ("manifest.json", "adapter_model.safetensors")
        }
    gone = await place.emit(make(ModelDeleted(reason="requested"), subject=names[20], tenant="acme", id="gone"))
    await on_event(gone, place.erasing)  # perhaps before the read models know of it
    assert {name.split("/")[1] for name in await place.checkpoints()} == {"10"}
    await on_event(ending, place.erasing)
    assert {name.split("/")[1] for name in await place.checkpoints()} == {"10"}


async def test_checkpoints_of_a_job_whose_model_is_not_known_yet_are_left_alone() -> None:
    place = Place()
    await place.fill(ended=False)
    ending = await place.succeeded("ft:base:acme::20", await place.checkpoint(20))
    before = await place.kept()
    with pytest.raises(UnavailableError):
        await on_event(ending, place.erasing)
    assert await place.kept() == before


async def test_another_tenants_deletion_of_the_same_id_touches_nothing() -> None:
    place = Place()
    await place.fill()
    before = await place.kept()
    await on_event(await place.say(FileDeleted(), FILE, "umbrella"), place.erasing)
    assert await place.kept() == before
