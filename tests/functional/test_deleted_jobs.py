"""P7: a job can be deleted once it has ended, its models with it; read models drop it and its bytes are gone."""

from __future__ import annotations

import httpx
import pytest

from contracts.controls import Control
from contracts.events.benchmarks import BenchmarkRequested
from contracts.events.files import FileUploaded
from contracts.events.jobs import JobCancelled, JobQueued, JobStarted, JobSucceeded
from contracts.manifest import ManifestRef
from contracts.results import result_ids
from functions.erase_content.handler import ErasurePorts, on_event
from tests.functional.edge import BASE, World, plan

REF = ManifestRef(key="local/x/manifest.json", sha256="2" * 64)


async def job_of(api: httpx.AsyncClient, file: str) -> str:
    made = await api.post("/v1/fine_tuning/jobs", json={"model": BASE, "training_file": file})
    id: str = made.json()["id"]
    return id


async def succeeded(world: World, id: str) -> list[str]:
    """Let a job end with a model, a checkpoint and its result files; returns its models."""
    await world.say(JobQueued(plan=plan()), id, "local")
    await world.say(JobStarted(total_steps=30, holder="h"), id, "local", epoch=1, attempt=1)
    names = [f"ft:{BASE}:local::a:ckpt-step-20", f"ft:{BASE}:local::b"]
    for name, step in zip(names, (20, 30), strict=True):
        await world.tuned(id, name, step)
    for filename, file in result_ids(id).items():
        blob = await world.blobs.put(f"local/{file}/content", b"step")
        await world.say(FileUploaded(blob=blob, filename=filename, purpose="fine-tune-results"), file, "local")
    for name in ("tokens/train.safetensors", "probe.json", "ckpt/1/30/adapter_model.safetensors"):
        await world.blobs.put(f"local/{id}/{name}", b"x")
    ending = JobSucceeded(
        fine_tuned_model=names[1],
        manifest=REF,
        result_files=tuple(result_ids(id).values()),
        trained_tokens=1,
        step=30,
        prompt_sha256="0" * 64,
    )
    await world.say(ending, id, "local")
    return names


async def test_a_deleted_job_is_gone_with_its_models_its_files_and_every_byte(
    world: World, api: httpx.AsyncClient, file: str
) -> None:
    id = await job_of(api, file)
    models = await succeeded(world, id)
    answer = await api.delete(f"/v1/fine_tuning/jobs/{id}")
    assert answer.json() == {
        "id": id,
        "object": "fine_tuning.job",
        "deleted": True,
        "models": models,
        "files": list(result_ids(id).values()),
    }
    for path in ("", "/events", "/checkpoints", "/metrics", "/results"):
        assert (await api.get(f"/v1/fine_tuning/jobs/{id}{path}")).status_code == 404, path
    assert (await api.post(f"/v1/fine_tuning/jobs/{id}/cancel")).status_code == 404
    for name in models:
        assert (await api.get(f"/v1/models/{name}")).status_code == 404
    for name in result_ids(id).values():
        assert (await api.get(f"/v1/files/{name}/content")).status_code == 404
    assert not (await api.get("/v1/fine_tuning/jobs")).json()["data"]
    assert not (await api.get("/finetune-jobs".join(("/v1", "")))).json()["data"]
    assert await world.blobs.list("local/") == [f"local/{file}/content"]
    assert (await api.get(f"/v1/files/{file}")).status_code == 200, "the rows are the user's own"


async def test_a_deletion_is_said_once_and_a_second_one_finds_nothing_unless_it_is_a_retry(
    world: World, api: httpx.AsyncClient, file: str
) -> None:
    id = await job_of(api, file)
    await world.say(JobCancelled(), id, "local")
    first = await api.delete(f"/v1/fine_tuning/jobs/{id}")
    assert (await api.delete(f"/v1/fine_tuning/jobs/{id}")).status_code == 404
    again = await api.delete(f"/v1/fine_tuning/jobs/{id}", headers={"x-stainless-retry-count": "1"})
    assert again.json() == first.json()
    assert world.topics().count("job.deleted") == 1


async def test_a_deletion_that_was_interrupted_is_brought_to_its_end_by_the_next_one(
    world: World, api: httpx.AsyncClient, file: str
) -> None:
    id = await job_of(api, file)
    models = await succeeded(world, id)
    await api.delete(f"/v1/models/{models[1]}")
    answer = await api.delete(f"/v1/fine_tuning/jobs/{id}")
    assert answer.json()["models"] == models
    assert world.topics().count("model.deleted") == 2


async def test_a_job_that_has_not_ended_is_not_deleted(world: World, api: httpx.AsyncClient, file: str) -> None:
    id = await job_of(api, file)
    answer = await api.delete(f"/v1/fine_tuning/jobs/{id}")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "job_not_ended"
    assert "Cancel it" in answer.json()["error"]["message"]
    assert (await api.get(f"/v1/fine_tuning/jobs/{id}")).status_code == 200


async def test_another_tenants_job_cannot_be_deleted(world: World, api: httpx.AsyncClient, file: str) -> None:
    id = await job_of(api, file)
    await world.say(JobCancelled(), id, "local")
    async with world.client(await world.key("umbrella", 7)) as stranger:
        assert (await stranger.delete(f"/v1/fine_tuning/jobs/{id}")).status_code == 404
    assert (await api.get(f"/v1/fine_tuning/jobs/{id}")).status_code == 200


@pytest.mark.parametrize("ended", [False, True])
async def test_what_an_edge_that_died_left_of_a_deleted_job_goes_and_its_benchmarks_too(
    world: World, api: httpx.AsyncClient, file: str, ended: bool
) -> None:
    id = await job_of(api, file)
    await succeeded(world, id)
    request = BenchmarkRequested(models={}, base_name=BASE, job=id)
    await world.say(request, "bench-1", "local")
    await world.blobs.put("local/bench-1/suite.jsonl", b"x")
    await api.delete(f"/v1/fine_tuning/jobs/{id}")
    await world.blobs.put(f"local/{id}/ckpt/1/30/late", b"x")
    (deleted,) = [event for event in world.emit.events if event.type == "job.deleted"]

    async def publish(control: Control) -> None:
        for event in control.events[control.published :]:
            await world.documents.apply(await world.emit(event))

    ports = ErasurePorts(world.documents, world.blobs, world.controls, publish)
    for _ in range(1 + ended):
        await on_event(deleted, ports)
    assert await world.blobs.list("local/") == [f"local/{file}/content"]
    view = await world.documents.get("benchmarks", "bench-1")
    assert view is not None
    assert view["failed"]["code"] == "job_deleted"
