"""Jobs on LLMHub's paths: their shapes, limits and order."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from contracts.envelope import derived_id
from contracts.events.jobs import JobFailed, JobProgressed, JobSucceeded
from contracts.manifest import ManifestRef
from tests.functional.edge import BASE, World, metrics
from tests.functional.test_edge_files import error
from tests.functional.test_edge_jobs import running

JOBS = "/v1/finetune-jobs"


async def create(api: httpx.AsyncClient, file: str, **headers: str) -> dict[str, Any]:
    response = await api.post(JOBS, json={"model": BASE, "training_file": file, "suffix": "ft"}, headers=headers)
    assert response.status_code == 200, response.text
    made: dict[str, Any] = response.json()
    return made


async def test_a_job_is_one_job_on_both_paths(world: World, api: httpx.AsyncClient, file: str) -> None:
    made = await create(api, file)
    assert (made["object"], made["status"], made["suffix"]) == ("fine-tune", "queued", "ft")
    assert (await api.get(f"/v2/finetune-jobs/{made['id']}")).json() == made
    canonical = (await api.get(f"/v2/fine_tuning/jobs/{made['id']}")).json()
    assert (canonical["object"], canonical["status"]) == ("fine_tuning.job", "validating_files")
    assert canonical["created_at_iso"] == made["created_at"]
    stopped = (await api.post(f"{JOBS}/{made['id']}/cancel")).json()
    assert (stopped["object"], stopped["status"]) == ("fine-tune", "stopped")
    assert stopped["finished_at"] >= made["created_at"]
    assert error(await api.post(f"{JOBS}/{made['id']}/cancel"))["code"] == "job_already_ended"
    unknown = await api.get(f"{JOBS}/ftjob-none")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "fine_tune_not_found")
    assert world.topics() == ["file.uploaded", "job.created", "job.cancelled"]


async def test_a_retried_create_is_one_job(world: World, api: httpx.AsyncClient, file: str) -> None:
    made = [await create(api, file, **{"idempotency-key": "k"}) for _ in range(2)]
    assert made[0] == made[1]
    assert world.topics().count("job.created") == 1


@pytest.mark.parametrize(
    ("query", "shown", "more"),
    [("", 3, True), ("?limit=2", 2, True), ("?limit=10", 10, True), ("?limit=500", 10, True)],
)
async def test_a_list_shows_three_jobs_and_at_most_ten(
    api: httpx.AsyncClient, file: str, query: str, shown: int, more: bool
) -> None:
    made = [(await create(api, file))["id"] for _ in range(11)]
    page = (await api.get(JOBS + query)).json()
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (made[:shown], more)
    rest = (await api.get(f"{JOBS}?limit=10&after={page['last_id']}")).json()
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == (made[shown:], shown + 10 < 11)
    newest = (await api.get(f"{JOBS}?order=desc&limit=1")).json()["data"]
    assert [each["id"] for each in newest] == [made[-1]]


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "after=ftjob-none"])
async def test_a_page_that_makes_no_sense_is_refused(api: httpx.AsyncClient, file: str, query: str) -> None:
    made = await create(api, file)
    for path in (JOBS, f"{JOBS}/{made['id']}/events"):
        assert error(await api.get(f"{path}?{query}"))["param"] == query.split("=")[0]


async def test_events_come_oldest_first_ten_and_at_most_a_hundred(
    world: World, api: httpx.AsyncClient, file: str
) -> None:
    id = (await create(api, file))["id"]
    await running(world, id)
    steps = tuple(metrics(step) for step in range(1, 131))
    await world.say(JobProgressed(total_steps=130, steps=steps), id, "local", epoch=1, attempt=1)
    path = f"{JOBS}/{id}/events"
    pages = [(await api.get(path)).json(), (await api.get(f"{path}?limit=1000")).json()]
    assert [len(page["data"]) for page in pages] == [10, 100]
    assert [line["type"] for line in pages[0]["data"]][:5] == ["submitted", "message", "message", "start", "metrics"]
    assert pages[0]["has_more"]
    rest = (await api.get(f"{path}?limit=100&after={pages[1]['data'][-1]['id']}")).json()
    assert (len(rest["data"]), rest["has_more"]) == (34, False)
    ids = [line["id"] for line in (*pages[1]["data"], *rest["data"])]
    assert len(set(ids)) == 134
    newest = (await api.get(f"{path}?order=desc&limit=1")).json()["data"]
    assert newest[0]["id"] == ids[-1]


async def test_each_ending_has_its_type(world: World, api: httpx.AsyncClient, file: str) -> None:
    good, bad = (await create(api, file))["id"], (await create(api, file))["id"]
    for id in (good, bad):
        await running(world, id)
    name = f"ft:{BASE}:local:ft:abcdefgh"
    await world.tuned(good, name, 30)
    succeeded = JobSucceeded(
        fine_tuned_model=name,
        manifest=ManifestRef(key="local/m", sha256="2" * 64),
        result_files=("file-r",),
        trained_tokens=9,
        step=30,
        prompt_sha256="3" * 64,
    )
    await world.say(succeeded, good, "local", id=derived_id(good, "end"))
    await world.say(JobFailed(code="c", message="Why."), bad, "local", id=derived_id(bad, "end"))
    told = {}
    for id in (good, bad):
        lines = (await api.get(f"{JOBS}/{id}/events")).json()["data"]
        told[id] = (lines[-1]["type"], lines[-1]["level"])
        assert len(lines[-1]["created_at"]) == len("2024-06-27T09:24:33")
    assert told == {good: ("succeeded", "info"), bad: ("failed", "error")}
    shown = (await api.get(f"{JOBS}/{good}")).json()
    assert (shown["status"], shown["fine_tuned_model"], shown["result_files"]) == ("succeeded", name, ["file-r"])
    assert (await api.get(f"{JOBS}/{bad}")).json()["message"] == "Why."


async def test_nobody_sees_another_tenants_jobs(world: World, api: httpx.AsyncClient, file: str) -> None:
    id = (await create(api, file))["id"]
    async with world.client(await world.key("other", 1)) as stranger:
        assert (await stranger.get(JOBS)).json()["data"] == []
        for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel")):
            assert (await stranger.request(method, f"{JOBS}/{id}{path}")).status_code == 404
