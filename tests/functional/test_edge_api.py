"""What holds for every path: keys, errors, headers; models, health."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from starlette.routing import Route

from contracts.events.jobs import JobCreated
from contracts.events.models import ModelDeleted
from contracts.ports import RebuildingError, UnavailableError
from functions.edge.app import ROUTES
from functions.edge.auth import encode_key
from tests.functional.edge import BASE, ROWS, World, raised
from tests.functional.test_edge_files import error

CHAT = "/v1/chat/completions"
ASKED = {"model": BASE, "messages": [{"role": "user", "content": "Hi"}]}


def anonymous(world: World, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(world.app), base_url="http://edge", headers=headers)


# --- keys


@pytest.mark.parametrize("presented", ["", "Bearer", "Bearer sk-123", "Basic abc", "Bearer " + "x" * 5000])
async def test_a_missing_or_malformed_key_is_refused_without_a_look_up(world: World, presented: str) -> None:
    with raised(world, AssertionError("a look-up")):
        async with anonymous(world, **({"authorization": presented} if presented else {})) as client:
            response = await client.get("/v1/models")
    assert error(response, 401)["code"] == "invalid_api_key"
    assert "sk-123" not in response.text


async def test_every_path_of_the_api_asks_for_a_key(world: World) -> None:
    async with anonymous(world) as client:
        for route in ROUTES:
            assert isinstance(route, Route)
            path = route.path
            for method in route.methods or ():
                response = await client.request(method, path.replace("{model:path}", "m").replace("{id}", "i"))
                assert response.status_code == (401 if path.startswith(("/v1/", "/v2/")) else 200), (method, path)


async def test_an_unknown_a_revoked_and_an_ingest_key_are_refused(world: World, key: str) -> None:
    ingest = await world.key("local", 2, "ingest")
    await world.revoke(key, "local")
    for bad in (encode_key(bytes(21)), key, ingest):
        async with world.client(bad) as client:
            response = await client.get("/v1/models")
        assert error(response, 401)["code"] == "invalid_api_key"
        assert bad not in response.text


async def test_the_key_may_come_in_the_api_key_header(world: World, key: str) -> None:
    async with anonymous(world, **{"api-key": key}) as client:
        assert (await client.get("/v1/models")).status_code == 200


# --- errors


async def test_unknown_paths_and_methods_are_answered_in_the_same_shape(world: World, api: httpx.AsyncClient) -> None:
    assert error(await api.get("/v1/nothing"), 404)["code"] == "unknown_url"
    assert error(await api.get("/nothing"), 404)["code"] == "unknown_url"
    response = await api.put("/v1/files")
    assert error(response, 405)["code"] == "method_not_allowed"
    assert "GET" in response.headers["allow"]


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/v1/models/", "/v1/models"),
        ("/v1/files/a/", "/v1/files/a"),
        ("//v1//files", "/v1/files"),
        ("/files", "/v1/files"),
        ("/chat/completions/", "/v1/chat/completions"),
        ("/healthz/", "/healthz"),
        ("/v1/nothing", None),
    ],
)
async def test_a_path_that_is_not_there_names_the_one_that_was_meant(
    api: httpx.AsyncClient, path: str, meant: str | None
) -> None:
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        found = error(await api.request(method, f"http://edge{path}"), 404)
        assert (f"Did you mean {meant}?" in found["message"]) is (meant is not None)


async def test_a_slash_at_the_end_of_any_path_is_a_404_that_names_it_without(api: httpx.AsyncClient) -> None:
    for route in ROUTES:
        assert isinstance(route, Route)
        path = route.path.replace("{model:path}", "m").replace("{id}", "i")
        if path == "/":
            continue
        found = error(await api.post(f"{path}/"), 404)
        assert f"Did you mean {path}?" in found["message"]


async def test_head_of_bytes_reads_none_of_them(
    world: World, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = {"file": ("a.jsonl", ROWS), "purpose": (None, "fine-tune")}
    id = (await api.post("/v1/files", files=form)).json()["id"]
    monkeypatch.setattr(world.blobs, "stream", None)  # whoever read it would crash
    head = await api.head(f"/v1/files/{id}/content")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(ROWS)), b"")


async def test_options_of_every_path_names_its_methods_and_asks_for_no_key(world: World) -> None:
    async with anonymous(world) as client:
        for route in ROUTES:
            assert isinstance(route, Route)
            path = route.path.replace("{model:path}", "m").replace("{id}", "i").replace("{name:path}", "n")
            options = await client.options(path)
            assert (options.status_code, options.content) == (204, b""), path
            assert {*(route.methods or ()), "OPTIONS"} <= set(options.headers["allow"].split(", "))


async def test_head_of_every_path_that_can_be_got_has_its_head_and_no_body(api: httpx.AsyncClient) -> None:
    for path in ("/", "/healthz", "/v1/models", "/v1/files", "/v1/fine_tuning/jobs", "/v1/models/none"):
        got, head = await api.get(path), await api.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        assert head.headers["content-length"] == got.headers["content-length"]
    response = await api.head("/v1/completions")
    assert (response.status_code, response.headers["allow"]) == (405, "OPTIONS, POST")


async def test_every_answer_carries_its_id_and_time(world: World, api: httpx.AsyncClient) -> None:
    for path in ("/v1/models", "/v1/nothing", "/healthz"):
        response = await api.get(path)
        assert response.headers["x-request-id"].startswith("req_")
        assert int(response.headers["openai-processing-ms"]) >= 0
        assert response.headers["openai-version"] == "2020-10-01"
    ids = {(await api.get("/v1/models")).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


async def test_a_bug_is_a_500_in_the_same_shape_and_its_words_stay_inside(
    world: World, api: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with raised(world, ZeroDivisionError("canary")):
        response = await api.get("/v1/models")
    assert error(response, 500)["type"] == "server_error"
    assert "canary" not in response.text
    assert response.headers["x-request-id"] in caplog.text


@pytest.mark.parametrize("outage", [UnavailableError("mongo", "MongoDB does not answer"), RebuildingError()])
async def test_an_outage_is_a_503_that_says_which_and_when_to_come_back(
    world: World, api: httpx.AsyncClient, outage: Exception
) -> None:
    with raised(world, outage):
        response = await api.get("/v1/models")
    assert str(outage) in error(response, 503)["message"]
    assert 0 < int(response.headers["retry-after"]) <= 5


# --- models


async def test_models_are_the_tenants_own_and_the_public_ones(world: World, api: httpx.AsyncClient) -> None:
    name = f"ft:{BASE}:local:a/b:xyz:ckpt-step-10"
    await world.say(JobCreated(model=BASE, training_file="file-1"), "ftjob-1", "local")
    await world.tuned("ftjob-1", name, 10)
    await world.tuned("ftjob-2", f"ft:{BASE}:other::zzz", 10, tenant="other")
    listed = (await api.get("/v1/models")).json()
    assert [each["id"] for each in listed["data"]] == [BASE, name]
    assert [each["owned_by"] for each in listed["data"]] == ["temper", "local"]
    for path in (name, name.replace("/", "%2F")):
        assert (await api.get(f"/v1/models/{path}")).json() == listed["data"][1]
    foreign = error(await api.get(f"/v1/models/ft:{BASE}:other::zzz"), 404)
    assert (foreign["code"], foreign["param"]) == ("model_not_found", "model")
    error(await api.delete(f"/v1/models/ft:{BASE}:other::zzz"), 404)


async def test_the_third_of_a_jobs_models_is_the_final_one(world: World, api: httpx.AsyncClient) -> None:
    """As the notebook of source 004 takes it, whatever order and however fast they were registered."""
    older = [f"ft:{BASE}:local::zz:ckpt-step-4", f"ft:{BASE}:local::yy"]
    newer = [f"ft:{BASE}:local::{name}" for name in ("cc:ckpt-step-375", "bb:ckpt-step-500", "aa")]
    for name, job, step in (
        *((name, "ftjob-9", step) for name, step in zip(reversed(older), (8, 4), strict=True)),
        *((name, "ftjob-1", step) for name, step in zip(reversed(newer), (625, 500, 375), strict=True)),
    ):
        await world.tuned(job, name, step)
    listed = [each["id"] for each in (await api.get("/v1/models")).json()["data"]]
    assert listed == [BASE, *older, *newer]


async def test_a_tuned_model_can_be_deleted_and_a_base_cannot(world: World, api: httpx.AsyncClient) -> None:
    name = f"ft:{BASE}:local::xyz"
    await world.tuned("ftjob-1", name, 10)
    assert error(await api.delete(f"/v1/models/{BASE}"), 403)["code"] == "model_not_deletable"
    assert (await api.delete(f"/v1/models/{name}")).json() == {"id": name, "object": "model", "deleted": True}
    error(await api.delete(f"/v1/models/{name}"), 404)
    again = await api.delete(f"/v1/models/{name}", headers={"x-stainless-retry-count": "2"})
    assert again.status_code == 200
    assert [type(event.data) for event in world.emit.events].count(ModelDeleted) == 1
    error(await api.post(CHAT, json={**ASKED, "model": name}), 404)


# --- health


async def well() -> str:
    return "answers"


async def ill() -> str:
    raise UnavailableError("x", "has said nothing for 6 s")


SICK = {"ok": False, "message": "has said nothing for 6 s"}


async def test_ready_is_said_only_when_all_that_the_edge_needs_answers(world: World, api: httpx.AsyncClient) -> None:
    world.probes.update(kafka=ill, mongo=well)
    red = await api.get("/readyz")
    assert (red.status_code, red.json()["status"]) == (503, "unready")
    assert red.json()["checks"] == {"kafka": SICK, "mongo": {"ok": True, "message": "answers"}}
    status = (await api.get("/status")).json()
    assert (status["status"], status["reasons"]) == ("unready", ["kafka: has said nothing for 6 s"])


async def test_work_that_rests_degrades_the_status_and_not_readiness(world: World, api: httpx.AsyncClient) -> None:
    world.probes.update(kafka=well)
    world.others.update(trainer=ill, worker=well)
    ready = await api.get("/readyz")
    assert (ready.status_code, ready.json()["status"], list(ready.json()["checks"])) == (200, "ready", ["kafka"])
    status = await api.get("/status")
    assert (status.status_code, status.json()["status"]) == (200, "degraded")
    assert status.json()["reasons"] == ["trainer: has said nothing for 6 s"]
    assert status.json()["checks"]["trainer"] == SICK


async def test_where_all_is_well_nothing_is_said(world: World, api: httpx.AsyncClient) -> None:
    world.probes.update(kafka=well)
    world.others.update(trainer=well)
    status = (await api.get("/status")).json()
    assert (status["status"], status["reasons"]) == ("ok", [])


async def test_parts_that_hang_are_named_together_in_time(
    world: World, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.edge.routes.health.PATIENCE", 0.2)
    asked = 0

    async def hangs() -> str:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()
        return ""

    world.probes.update(kafka=hangs, mongo=hangs)
    begun = time.monotonic()
    replies = await asyncio.gather(*(api.get("/readyz") for _ in range(5)))
    assert time.monotonic() - begun < 2
    assert asked == 2  # five callers share one round
    checks = replies[0].json()["checks"]
    assert not checks["kafka"]["ok"]
    assert not checks["mongo"]["ok"]
    assert "does not answer" in checks["mongo"]["message"]


async def test_health_needs_no_key_and_no_dependency(world: World) -> None:
    with raised(world, UnavailableError("mongo")):
        async with anonymous(world) as client:
            assert (await client.get("/healthz")).json() == {"status": "ok"}
