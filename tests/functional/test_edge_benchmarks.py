"""Benchmarks over the edge: requested of a job or a model, shown, cancelled, refused; a job's own follows by itself."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from contracts.envelope import derived_id, make
from contracts.events.benchmarks import (
    BenchmarkCompleted,
    BenchmarkedModel,
    BenchmarkProgressed,
    BenchmarkRequested,
    BenchmarkStarted,
    Suite,
    TaskScore,
)
from contracts.events.jobs import JobSucceeded
from contracts.manifest import ManifestRef
from contracts.ports import UnavailableError
from functions.benchmark_model.core import benchmark_of
from functions.benchmark_model.handler import BenchmarkPorts, on_benchmark_requested, on_job_succeeded
from tests.functional.edge import BASE, World
from tests.functional.test_edge_files import error
from tests.functional.test_edge_jobs import job_of

MADE = ManifestRef(key="local/made/manifest.json", sha256="1" * 64)


async def succeeded(world: World, api: httpx.AsyncClient, file: str, **body: Any) -> str:
    job = await job_of(api, file, **body)
    data = JobSucceeded(
        fine_tuned_model=f"ft:{BASE}:local::x",
        manifest=MADE,
        result_files=(),
        trained_tokens=1,
        step=1,
        prompt_sha256="0" * 64,
    )
    await world.say(data, job, "local")
    return job


@pytest.fixture
async def job(world: World, api: httpx.AsyncClient, file: str) -> str:
    return await succeeded(world, api, file)


async def test_a_benchmark_of_a_job_is_requested_followed_and_shown(
    world: World, api: httpx.AsyncClient, job: str, file: str
) -> None:
    asked = {"tasks": ["documents", "needle"], "items": 12, "grid": {"lengths": [64, 128], "per_cell": 2}}
    made = (await api.post(f"/v1/fine_tuning/jobs/{job}/benchmarks", json=asked)).json()
    assert (made["object"], made["status"], made["fine_tuning_job_id"], made["file"]) == (
        "benchmark",
        "queued",
        job,
        file,
    )
    assert made["models"] == {"base": BASE, "tuned": f"ft:{BASE}:local::x"}
    assert (made["suite"]["items"], made["suite"]["grid"]["lengths"]) == (12, [64, 128])
    await world.say(BenchmarkStarted(total=40), made["id"], "local")
    await world.say(BenchmarkProgressed(done=16, total=40), made["id"], "local")
    shown = (await api.get(f"/v1/benchmarks/{made['id']}")).json()
    assert (shown["status"], shown["progress"]) == ("running", {"answered": 16, "total": 40})
    assert shown["delay"] is None
    await world.controls.open(made["id"], "local", "benchmark", {})
    claim = await world.controls.claim("benchmark", "a worker")
    assert claim is not None
    await world.controls.release(claim, forgive=True, why="serving is away")
    assert (await api.get(f"/v1/benchmarks/{made['id']}")).json()["delay"]["code"] == "waiting_for_dependency"
    for path in ("report", "result", "items"):
        assert error(await api.get(f"/v1/benchmarks/{made['id']}/{path}"))["code"] == "benchmark_not_completed"
    blobs = {
        name: await world.blobs.put(f"local/{made['id']}/{name}", name.encode(), "text/html")
        for name in ("report", "result", "items")
    }
    score = TaskScore(name="documents", metric="f1", scorer="s", n=9, base=0.1, tuned=0.5, difference=(0.4, 0.2, 0.6))
    done = BenchmarkCompleted(**blobs, verdict="better", sentence="Better.", scores=(score,))
    await world.say(done, made["id"], "local")
    shown = (await api.get(f"/v1/benchmarks/{made['id']}")).json()
    assert (shown["status"], shown["verdict"], shown["sentence"]) == ("completed", "better", "Better.")
    assert shown["scores"][0]["difference"] == [0.4, 0.2, 0.6]
    assert shown["progress"] == {"answered": 40, "total": 40}
    page = await api.get(shown["report_url"])
    assert (page.text, page.headers["content-type"]) == ("report", "text/html; charset=utf-8")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert [each["id"] for each in (await api.get(f"/v1/fine_tuning/jobs/{job}/benchmarks")).json()["data"]] == [
        made["id"]
    ]
    assert [each["id"] for each in (await api.get("/v1/benchmarks")).json()["data"]] == [made["id"]]


async def test_answers_are_scored_anew_under_another_id(world: World, api: httpx.AsyncClient, job: str) -> None:
    made = (await api.post(f"/v1/fine_tuning/jobs/{job}/benchmarks", json={"items": 9, "judge": "strict-1"})).json()
    path = f"/v1/benchmarks/{made['id']}/rescore"
    assert error(await api.post(path, json={"metric": "f1"}))["code"] == "benchmark_not_completed"
    blob = await world.blobs.put(f"local/{made['id']}/result.json", b"{}")
    done = BenchmarkCompleted(result=blob, items=blob, report=blob, verdict="better", sentence="Better.", scores=())
    await world.say(done, made["id"], "local")
    assert error(await api.post(path, json={"metric": "taste"}))["param"] == "metric"
    again = (await api.post(path, json={"metric": "f1"})).json()
    assert again["id"] != made["id"]
    assert (again["status"], again["rescores"], again["models"]) == ("queued", made["id"], made["models"])
    suite = {**made["suite"], "judge": None, "metric": "f1"}
    assert again["suite"] == suite, "all else is as it was"
    await world.say(done, again["id"], "local")
    third = (await api.post(f"/v1/benchmarks/{again['id']}/rescore", json={"judge": "none"})).json()
    assert third["rescores"] == made["id"], "the answers are those of the first"
    assert (third["suite"]["judge"], third["suite"]["metric"]) == ("none", None)


async def test_files_of_rows_to_ask_are_named_by_their_role(api: httpx.AsyncClient, job: str, file: str) -> None:
    path = f"/v1/fine_tuning/jobs/{job}/benchmarks"
    made = (await api.post(path, json={"generalization_file": file, "forgetting_file": file})).json()
    assert (made["generalization_file"], made["forgetting_file"]) == (file, file)
    wrong = error(await api.post(path, json={"generalization_file": "file-nowhere"}), 404)
    assert "file-nowhere" in wrong["message"]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"grid": {"lengths": [2**53 + 1]}}, "grid.lengths.0"),
        ({"grid": {"lengths": [10**399]}}, "grid.lengths.0"),
        ({"grid": {"positions": [10**399]}}, "grid.positions.0"),
        ({"grid": {"per_cell": 10**399}}, "grid.per_cell"),
        ({"grid": {"distractors": ["hard"] * 3}}, "grid.distractors"),
        ({"items": 10**399}, "items"),
        ({"seed": -(10**398)}, "seed"),
        ({"tasks": ["documents"] * 9}, "tasks"),
        ({"harness": ["x" * 129]}, "harness.0"),
        ({"harness": ["x"] * 65}, "harness"),
    ],
)
async def test_what_is_asked_has_bounds(api: httpx.AsyncClient, job: str, asked: dict[str, Any], param: str) -> None:
    refused = error(await api.post(f"/v1/fine_tuning/jobs/{job}/benchmarks", json=asked))
    assert (refused["param"], refused["code"]) == (param, "invalid_value")
    assert len(refused["message"]) < 600


async def test_a_repeated_request_is_given_the_same_benchmark(api: httpx.AsyncClient, job: str) -> None:
    url, headers = f"/v1/fine_tuning/jobs/{job}/benchmarks", {"idempotency-key": "k"}
    first, second = [(await api.post(url, json={}, headers=headers)).json()["id"] for _ in range(2)]
    assert first == second
    assert (await api.post(url)).json()["id"] != first


async def test_a_benchmark_is_cancelled_once(api: httpx.AsyncClient, job: str) -> None:
    made = (await api.post(f"/v1/fine_tuning/jobs/{job}/benchmarks")).json()
    stopped = (await api.post(f"/v1/benchmarks/{made['id']}/cancel")).json()
    assert (stopped["status"], stopped["error"]["code"]) == ("cancelled", "cancelled")
    refused = error(await api.post(f"/v1/benchmarks/{made['id']}/cancel"))
    assert refused["code"] == "benchmark_already_ended"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tasks": ["poetry"]}, "tasks.0"),
        ({"items": 0}, "items"),
        ({"grid": {"chunks": []}}, "grid.chunks"),
        ({"seed": -1}, "seed"),
    ],
)
async def test_what_cannot_be_asked_is_named(api: httpx.AsyncClient, job: str, body: Any, param: str) -> None:
    refused = error(await api.post(f"/v1/fine_tuning/jobs/{job}/benchmarks", json=body))
    assert (refused["param"], refused["code"]) == (param, "invalid_value")


@pytest.mark.parametrize("path", ["fine_tuning/jobs/{}/benchmarks", "benchmarks", "evaluate", "benchmarks/{}/rescore"])
async def test_a_name_that_nobody_knows_is_refused(api: httpx.AsyncClient, job: str, path: str) -> None:
    made = (await api.post(f"/v1/fine_tuning/jobs/{job}/benchmarks")).json()["id"]
    asked = {"colour": 1} if path.endswith("rescore") else {"grid": {"colour": 1}}
    refused = error(await api.post(f"/v1/{path.format(made if 'rescore' in path else job)}", json=asked))
    assert (refused["code"], refused["param"].endswith("colour")) == ("unknown_parameter", True)


async def test_unknown_and_foreign_things_are_not_benchmarked(
    world: World, api: httpx.AsyncClient, job: str, file: str
) -> None:
    made = (await api.post(f"/v1/fine_tuning/jobs/{job}/benchmarks")).json()["id"]
    async with world.client(await world.key("other", 1)) as stranger:
        error(await stranger.get(f"/v1/benchmarks/{made}"), 404)
        error(await stranger.post(f"/v1/benchmarks/{made}/cancel"), 404)
        assert (await stranger.post(f"/v1/fine_tuning/jobs/{job}/benchmarks")).status_code == 404
        error(await stranger.post("/v1/benchmarks", json={"model": BASE, "file": file}), 404)
    error(await api.post("/v1/benchmarks", json={"model": "nobody"}), 404)
    assert error(await api.post("/v1/benchmarks", json={}))["param"] == "model"
    assert error(await api.post("/v1/evaluate", json={"model": BASE}))["param"] == "file"
    assert error(await api.post("/v1/evaluate", json={"file": file}))["param"] == "models"
    waiting = await job_of(api, file)
    assert error(await api.post(f"/v1/fine_tuning/jobs/{waiting}/benchmarks"))["code"] == "job_not_succeeded"


async def test_models_are_evaluated_on_a_file(api: httpx.AsyncClient, file: str) -> None:
    found = (await api.post("/v1/evaluate", json={"file": file, "models": [BASE], "items": 5})).json()["data"]
    assert [(each["models"], each["file"], each["suite"]["tasks"]) for each in found] == [
        ({"tuned": BASE}, file, ["documents"])
    ]


async def test_several_models_are_evaluated_once_a_key(
    world: World, api: httpx.AsyncClient, job: str, file: str
) -> None:
    tuned = f"ft:{BASE}:local::x"
    await world.tuned(job, tuned, 1)
    asked = {"file": file, "models": [tuned, BASE, tuned], "items": 5}
    headers = {"idempotency-key": "k"}
    found = [(await api.post("/v1/evaluate", json=asked, headers=headers)).json()["data"] for _ in range(2)]
    assert [each["models"]["tuned"] for each in found[0]] == [tuned, BASE]
    assert found[0] == found[1]
    other = await api.post("/v1/evaluate", json={**asked, "models": [tuned]}, headers=headers)
    assert error(other)["code"] == "idempotency_key_reused"
    assert len(said(world, "benchmark.requested")) == 2
    again = await api.post("/v1/evaluate", json=asked, headers={"x-stainless-retry-count": "1"})
    assert [each["id"] for each in again.json()["data"]] != [each["id"] for each in found[0]]  # that one was answered
    assert all(each.completed for each in world.requests.made)


@pytest.fixture
async def deps(world: World) -> BenchmarkPorts:
    async def publish(control: Any) -> None:
        for event in control.events[control.published :]:
            await world.documents.apply(await world.emit(event))
        await world.controls.published(control.subject, len(control.events))

    return BenchmarkPorts(world.documents, world.controls, world.emit, publish, lambda stage: None, Suite())


def said(world: World, type: str) -> list[Any]:
    return [event for event in world.emit.events if event.type == type]


async def test_a_job_that_succeeds_is_benchmarked_by_itself_and_once(
    world: World, api: httpx.AsyncClient, job: str, file: str, deps: BenchmarkPorts
) -> None:
    (event,) = said(world, "job.succeeded")
    for _ in range(2):
        await on_job_succeeded(event, deps)
    requests = said(world, "benchmark.requested")
    assert {each.id for each in requests} == {derived_id(benchmark_of(job), "benchmark.requested")}
    data = requests[0].data
    assert isinstance(data, BenchmarkRequested)
    assert (data.job, data.file, set(data.models)) == (job, file, {"base", "tuned"})
    assert (await api.get(f"/v1/benchmarks/{benchmark_of(job)}")).json()["status"] == "queued"


async def test_nobody_asks_where_nobody_wants_it(
    world: World, api: httpx.AsyncClient, file: str, deps: BenchmarkPorts
) -> None:
    job = await succeeded(world, api, file, benchmarks="none")
    event = said(world, "job.succeeded")[-1]
    await on_job_succeeded(event, deps)
    assert not said(world, "benchmark.requested")
    assert error(await api.post("/v1/fine_tuning/jobs", json={"model": BASE, "training_file": file, "benchmarks": 7}))
    assert job


async def test_a_job_that_is_not_known_yet_is_waited_for(
    world: World, deps: BenchmarkPorts, api: httpx.AsyncClient, job: str
) -> None:
    (event,) = said(world, "job.succeeded")
    later = make(event.data, subject="ftjob-later", tenant="local", id="e")
    with pytest.raises(UnavailableError):
        await on_job_succeeded(later, deps)


async def test_a_file_without_rows_ends_the_benchmark_with_a_reason(
    world: World, api: httpx.AsyncClient, job: str, deps: BenchmarkPorts
) -> None:
    made = (await api.post(f"/v1/fine_tuning/jobs/{job}/benchmarks")).json()["id"]
    (event,) = said(world, "benchmark.requested")
    await on_benchmark_requested(event, deps)
    shown = (await api.get(f"/v1/benchmarks/{made}")).json()
    assert (shown["status"], shown["error"]["code"]) == ("failed", "file_not_ready")


async def test_what_a_request_from_outside_names_must_be_the_tenants_own(
    world: World, api: httpx.AsyncClient, job: str, file: str, deps: BenchmarkPorts
) -> None:
    made = (await api.post(f"/v1/fine_tuning/jobs/{job}/benchmarks")).json()["id"]
    theirs = BenchmarkedModel(name="ft:theirs", manifest=MADE)
    asked = {"models": {"tuned": theirs}, "base_name": BASE}
    wrong = {
        "model_not_found": BenchmarkRequested.model_validate(asked),
        "job_not_found": BenchmarkRequested.model_validate({**asked, "job": job}),
        "benchmark_not_found": BenchmarkRequested.model_validate({**asked, "rescores": made}),
    }
    for number, (code, data) in enumerate(wrong.items()):
        id = f"bench-{number}"
        await world.say(data, id, "somebody-else")
        event = make(data, subject=id, tenant="somebody-else", id=f"e{number}")
        await on_benchmark_requested(event, deps)
        view = await world.documents.get("benchmarks", id)
        assert view is not None
        assert (view["status"], view["failed"]["code"]) == ("failed", code)
    base = BenchmarkRequested.model_validate({"models": {"tuned": {"name": BASE, "manifest": MADE}}, "base_name": BASE})
    await world.say(base, "bench-9", "somebody-else")
    await on_benchmark_requested(make(base, subject="bench-9", tenant="somebody-else", id="e9"), deps)
    control = world.controls.controls["bench-9"]
    assert control.inputs["requested"]["models"]["tuned"]["manifest"] == control.inputs["base"] != MADE.model_dump()
