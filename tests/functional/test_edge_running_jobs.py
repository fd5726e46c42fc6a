"""Jobs that run: ended, paused and resumed over the edge; their events and checkpoints."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest

from contracts.envelope import derived_id, make
from contracts.events.jobs import JobCheckpointed, JobFailed, JobPaused, JobProgressed, JobStarted
from contracts.manifest import ManifestRef
from tests.functional.edge import BASE, World, metrics
from tests.functional.test_edge_files import error
from tests.functional.test_edge_jobs import JOBS, job_of, running

# --- cancel, pause, resume


async def test_cancel_ends_the_job_at_once_and_only_once(world: World, api: httpx.AsyncClient, file: str) -> None:
    id = await job_of(api, file)
    job = (await api.post(f"{JOBS}/{id}/cancel")).json()
    assert job["status"] == "cancelled"
    assert world.topics().count("job.cancelled") == 1
    control = world.controls.controls[id]
    assert (control.ended, control.published) == (True, 1)
    found = error(await api.post(f"{JOBS}/{id}/cancel"))
    assert found["code"] == "job_already_ended"
    retried = await api.post(f"{JOBS}/{id}/cancel", headers={"x-stainless-retry-count": "1"})
    assert retried.json()["status"] == "cancelled"
    assert world.topics().count("job.cancelled") == 1


async def test_a_job_whose_trainer_died_says_that_nobody_is_at_it(
    world: World, api: httpx.AsyncClient, file: str
) -> None:
    id = await job_of(api, file)

    async def code() -> str | None:
        delay = (await api.get(f"{JOBS}/{id}")).json()["temper"]["delay"]
        return delay and str(delay["code"])

    clock = [0.0]
    world.controls.now = lambda: clock[0]
    assert await code() is None
    await world.controls.open(id, "local", "train", {})
    assert await code() is None, "it waits for its turn"
    assert await world.controls.claim("train", "a trainer") is not None
    assert await code() is None
    clock[0] += 31  # killed before it said that it started
    assert await code() == "waiting_for_trainer"
    claim = await world.controls.claim("train", "another")
    assert claim is not None
    assert await code() is None
    await world.controls.release(claim, forgive=True, why="MinIO is away")
    assert await code() == "waiting_for_dependency"


async def test_a_cancel_that_comes_second_publishes_the_ending_that_won(
    world: World, api: httpx.AsyncClient, file: str
) -> None:
    id = await job_of(api, file)
    failed = JobFailed(code="file_not_found", message="The file is gone.")
    await world.controls.open(id, "local", "prepare", {})
    await world.controls.end(id, [make(failed, subject=id, tenant="local", id=derived_id(id, "end"))])
    found = error(await api.post(f"{JOBS}/{id}/cancel"))
    assert found["code"] == "job_already_ended"
    assert (await api.get(f"{JOBS}/{id}")).json()["status"] == "failed"
    assert world.topics()[-1] == "job.failed"


@pytest.mark.parametrize("verb", ["pause", "resume"])
async def test_a_pause_that_meets_an_ended_job_says_that_it_ended(
    world: World, api: httpx.AsyncClient, file: str, verb: str
) -> None:
    id = await job_of(api, file)
    await world.controls.open(id, "local", "train", {})
    await running(world, id)
    if verb == "resume":
        await api.post(f"{JOBS}/{id}/pause")
    failed = JobFailed(code="file_not_found", message="The file is gone.")
    await world.controls.end(id, [make(failed, subject=id, tenant="local", id=derived_id(id, "end"))])
    found = error(await api.post(f"{JOBS}/{id}/{verb}"))
    assert found["code"] == "job_already_ended"
    assert (await api.get(f"{JOBS}/{id}")).json()["status"] == "failed"


async def test_concurrent_cancels_give_one_ending(world: World, api: httpx.AsyncClient, file: str) -> None:
    id = await job_of(api, file)
    replies = await asyncio.gather(*(api.post(f"{JOBS}/{id}/cancel") for _ in range(10)))
    assert {reply.status_code for reply in replies} <= {200, 400}
    assert any(reply.status_code == 200 for reply in replies)
    assert len({event.id for event in world.emit.events if event.type == "job.cancelled"}) == 1


async def test_pause_and_resume_open_epochs(world: World, api: httpx.AsyncClient, file: str) -> None:
    id = await job_of(api, file)
    assert error(await api.post(f"{JOBS}/{id}/pause"))["code"] == "job_not_running"
    assert error(await api.post(f"{JOBS}/{id}/resume"))["code"] == "job_not_paused"
    await world.controls.open(id, "local", "train", {})
    await running(world, id)
    assert error(await api.post(f"{JOBS}/{id}/resume"))["code"] == "job_not_paused"
    job = (await api.post(f"{JOBS}/{id}/pause")).json()
    assert (job["status"], job["temper"]["pausing"]) == ("running", True)
    assert (world.emit.events[-1].type, world.emit.events[-1].epoch) == ("job.pause_requested", 2)
    assert (await api.post(f"{JOBS}/{id}/pause")).json() == job  # said twice, done once
    assert world.topics().count("job.pause_requested") == 1
    await world.say(JobPaused(step=7), id, "local", epoch=2, attempt=1)
    job = (await api.get(f"{JOBS}/{id}")).json()
    assert (job["status"], job["temper"]["pausing"]) == ("paused", False)
    job = (await api.post(f"{JOBS}/{id}/resume")).json()
    assert job["status"] == "queued"
    assert (world.emit.events[-1].type, world.emit.events[-1].epoch) == ("job.resume_requested", 3)
    assert (await api.post(f"{JOBS}/{id}/resume")).json()["status"] == "queued"
    assert world.topics().count("job.resume_requested") == 1
    await api.post(f"{JOBS}/{id}/cancel")
    for verb in ("pause", "resume"):
        assert error(await api.post(f"{JOBS}/{id}/{verb}"))["code"] == "job_already_ended"


# --- events and checkpoints


async def test_events_are_newest_first_and_hide_what_is_made_again(
    world: World, api: httpx.AsyncClient, file: str
) -> None:
    id = await job_of(api, file)
    await running(world, id)
    steps = tuple(metrics(step) for step in range(1, 9))
    await world.say(JobProgressed(total_steps=30, steps=steps), id, "local", epoch=1, attempt=1)
    await world.say(JobStarted(from_step=5, total_steps=30, holder="b"), id, "local", epoch=1, attempt=2)
    await world.say(JobProgressed(total_steps=30, steps=(metrics(6),)), id, "local", epoch=1, attempt=2)
    shown = (await api.get(f"{JOBS}/{id}/events?limit=100")).json()["data"]
    assert [each["message"] for each in shown[::-1]][:4] == [
        f"Created fine-tuning job: {id}",
        f"Validating training file: {file}",
        "Files validated, moving job to queued state",
        "Fine-tuning job started",
    ]
    assert [each["data"]["step"] for each in shown if each["type"] == "metrics"] == [6, 5, 4, 3, 2, 1]
    measured = (await api.get(f"{JOBS}/{id}/metrics")).json()
    assert [each["step"] for each in measured["data"]] == [1, 2, 3, 4, 5, 6]
    assert measured["data"][0]["train_loss"] == steps[0].train_loss
    first = (await api.get(f"{JOBS}/{id}/metrics?limit=4")).json()
    rest = (await api.get(f"{JOBS}/{id}/metrics?after={first['last_id']}")).json()
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert first["data"] + rest["data"] == measured["data"]
    assert error(await api.get(f"{JOBS}/{id}/metrics?after=ftevent-1"))["param"] == "after"
    lines = [json.loads(line) for line in (await api.get(f"{JOBS}/{id}/results")).text.splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2, 3, 4, 5, 6], "it is read while the job runs"
    assert set(lines[0]) == {
        "epoch", "iteration", "train_loss", "trained_tokens", "valid_loss", "perplexity", "hyperparameters",
        "time_since_job_start",
    }  # fmt: skip
    assert lines[0]["epoch"] == 0
    table, same = (await api.get(f"{JOBS}/{id}")).json()["result_files"]
    shown_file = (await api.get(f"/v1/files/{table}")).json()
    raw = (await api.get(f"/v1/files/{table}/content?format=raw")).content
    assert (shown_file["filename"], shown_file["status"], shown_file["bytes"]) == (
        "step_metrics.csv",
        "uploaded",
        len(raw),
    )
    assert base64.b64decode((await api.get(f"/v1/files/{table}/content")).text) == raw
    assert [row.split(b",")[0] for row in raw.splitlines()] == [b"step", b"1", b"2", b"3", b"4", b"5", b"6"]
    assert [json.loads(line) for line in (await api.get(f"/v1/files/{same}/content")).text.splitlines()] == lines
    assert error(await api.delete(f"/v1/files/{same}"))["code"] == "file_in_use"
    paged: list[dict[str, Any]] = []
    after = ""
    while True:
        page = (await api.get(f"{JOBS}/{id}/events?limit=3{after}")).json()
        paged += page["data"]
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert paged == shown
    for query in ("after=ftevent-unknown", "limit=0", "limit=101"):
        error(await api.get(f"{JOBS}/{id}/events?{query}"))


async def test_checkpoints_are_the_models_that_can_be_called(world: World, api: httpx.AsyncClient, file: str) -> None:
    id = await job_of(api, file)
    await running(world, id)
    final = f"ft:{BASE}:local:medical:abc"
    names = {10: f"ft:{BASE}:local:medical:x:ckpt-step-10", 20: f"ft:{BASE}:local:medical:y:ckpt-step-20", 30: final}
    for step, name in names.items():
        checkpointed = JobCheckpointed(step=step, manifest=ManifestRef(key="k", sha256="0" * 64), metrics=metrics(step))
        await world.say(checkpointed, id, "local", epoch=1, attempt=1)
        await world.tuned(id, name, step)
    shown = (await api.get(f"{JOBS}/{id}/checkpoints")).json()
    assert [each["fine_tuned_model_checkpoint"] for each in shown["data"]] == [names[30], names[20], names[10]]
    assert shown["data"][0]["metrics"] == {"step": 30, "train_loss": 1 / 30, "train_mean_token_accuracy": 0.5}
    page = (await api.get(f"{JOBS}/{id}/checkpoints?limit=1&after={shown['data'][0]['id']}")).json()
    assert (page["data"], page["has_more"]) == (shown["data"][1:2], True)
    error(await api.get(f"{JOBS}/{id}/checkpoints?after=ftckpt_unknown"))
    assert (await api.delete(f"/v1/models/{names[20]}")).json()["deleted"] is True
    left = (await api.get(f"{JOBS}/{id}/checkpoints")).json()["data"]
    assert [each["step_number"] for each in left] == [30, 10]


async def test_long_lists_are_fetched_so_few_at_a_time_that_others_are_served_between(
    world: World, api: httpx.AsyncClient, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`/results` of 50,000 steps silenced the edge for 1.4 s, a page of 10,000 files for 0.4 s."""
    limits: list[int] = []
    find = world.documents.find

    async def counted(model: str, where: Any, sort: Any = (), limit: int = 0) -> list[dict[str, Any]]:
        limits.append(limit)
        return await find(model, where, sort, limit)

    id = await job_of(api, file)
    assert (await api.get(f"{JOBS}/{id}/results")).content == b""  # nothing is planned yet
    await running(world, id)
    steps = [metrics(step) for step in range(1, 1101)]
    for start in range(0, len(steps), 500):
        said = JobProgressed(steps=tuple(steps[start : start + 500]), total_steps=1100)
        await world.say(said, id, "local", epoch=1, attempt=1)
    monkeypatch.setattr(world.documents, "find", counted)
    lines = (await api.get(f"{JOBS}/{id}/results")).text.splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == list(range(1, 1101))
    shown = (await api.get(f"{JOBS}/{id}")).json()
    table = (await api.get(f"/v1/files/{shown['result_files'][0]}/content", params={"format": "raw"})).text
    assert [line.partition(",")[0] for line in table.splitlines()] == ["step", *(str(n) for n in range(1, 1101))]
    page = (await api.get(f"{JOBS}/{id}/metrics", params={"limit": 1050})).json()
    assert ([each["step"] for each in page["data"]], page["has_more"]) == (list(range(1, 1051)), True)
    assert (await api.get("/v1/files")).json()["data"][0]["id"] == file
    assert BASE in [each["id"] for each in (await api.get("/v1/models")).json()["data"]]
    assert limits
    assert all(1 <= limit <= 500 for limit in limits)
