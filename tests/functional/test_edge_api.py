"""What holds for every path: keys, errors, headers; models, completions passed through, health."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from contracts.events.jobs import JobCreated
from contracts.events.models import ModelDeleted
from contracts.manifest import ManifestRef
from contracts.ports import RebuildingError, UnavailableError
from functions.edge.app import ROUTES
from functions.edge.auth import encode_key
from tests.functional.edge import BASE, REF, ROWS, CannedReply, World, raised
from tests.functional.test_edge_files import error

CHAT = "/v1/chat/completions"
ASKED = {"model": BASE, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
async def world() -> World:
    world = World()
    await world.base()
    return world


@pytest.fixture
async def key(world: World) -> str:
    return await world.key("local")


@pytest.fixture
async def api(world: World, key: str) -> AsyncIterator[httpx.AsyncClient]:
    async with world.client(key) as client:
        yield client


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


async def test_options_names_the_methods_and_head_has_no_body(
    world: World, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = await api.options("/v1/files/file-1")
    assert error(options, 405)["code"] == "method_not_allowed"
    assert options.headers["allow"] == "DELETE, GET, HEAD"
    form = {"file": ("a.jsonl", ROWS), "purpose": (None, "fine-tune")}
    id = (await api.post("/v1/files", files=form)).json()["id"]
    monkeypatch.setattr(world.blobs, "stream", None)  # whoever read it would crash
    head = await api.head(f"/v1/files/{id}/content")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(ROWS)), b"")


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


# --- completions


class Serving:
    """A serving process whose answers are written here, chunk by chunk, on command."""

    def __init__(self, *chunks: bytes, status: int = 200, media_type: str = "application/json") -> None:
        self.chunks = chunks
        self.status = status
        self.media_type = media_type
        self.asked: list[tuple[str, bytes, ManifestRef, str, str]] = []
        self.reply: CannedReply | None = None
        self.go_on = asyncio.Event()
        self.breaks = False
        self.cancelled = False

    async def __call__(
        self, path: str, body: bytes, manifest: ManifestRef, request_id: str, tenant: str
    ) -> CannedReply:
        self.asked.append((path, body, manifest, request_id, tenant))
        headers = {"content-type": self.media_type, "x-internal": "no"}
        self.reply = CannedReply(self.status, headers, self._chunks())
        return self.reply

    async def _chunks(self) -> AsyncIterator[bytes]:
        for index, chunk in enumerate(self.chunks):
            if index:
                try:
                    await self.go_on.wait()
                except asyncio.CancelledError:
                    self.cancelled = True
                    raise
                if self.breaks:
                    raise UnavailableError("serving")
            yield chunk


async def test_names_resolve_at_the_edge_and_bytes_pass_through(world: World, api: httpx.AsyncClient) -> None:
    world.complete = serving = Serving(b'{"odd" :', b"  1}")
    serving.go_on.set()
    body = b'{ "model":"' + BASE.encode() + b'",  "messages": [] }'
    response = await api.post(CHAT, content=body)
    assert response.content == b'{"odd" :  1}'
    assert serving.asked == [(CHAT, body, REF, response.headers["x-request-id"], "local")]
    assert "x-internal" not in response.headers
    await api.post("/v1/completions", content=body)
    assert serving.asked[1][0] == "/v1/completions"
    assert serving.reply is not None
    assert serving.reply.closed


async def test_what_serving_refuses_is_passed_on(world: World, api: httpx.AsyncClient) -> None:
    said = b'{"error":{"message":"Too long.","type":"invalid_request_error","param":"messages","code":"x"}}'
    world.complete = Serving(said, status=400)
    response = await api.post(CHAT, json=ASKED)
    assert (response.status_code, response.content) == (400, said)


async def test_serving_that_is_away_is_named(world: World, api: httpx.AsyncClient) -> None:
    async def away(*_: Any) -> None:
        raise UnavailableError("serving", "the serving process does not answer")

    world.complete = away
    assert "serving process" in error(await api.post(CHAT, json=ASKED), 503)["message"]


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        (b'{"messages": []}', 400, "model", "missing_required_parameter"),
        (b'{"model": 1}', 400, "model", "invalid_type"),
        (b'{"model": "gpt-9"}', 404, "model", "model_not_found"),
        (b'{"model": "m", "temprature": 0}', 400, "temprature", "unknown_parameter"),
        (b'{"model": "m", "verbosity": "low"}', 400, "verbosity", "unsupported"),
        (b"{", 400, None, "invalid_json"),
        (b'{"model": "m", "messages": [{"content": "\\uD800"}]}', 400, "messages[0].content", "invalid_string"),
        (b'{"model": "' + b"x" * 2**21 + b'"}', 413, None, "request_too_large"),
    ],
)
async def test_a_completion_that_makes_no_sense_is_refused_here(
    api: httpx.AsyncClient, body: bytes, status: int, param: str | None, code: str
) -> None:
    found = error(await api.post(CHAT, content=body), status)
    assert (found["param"], found["code"]) == (param, code)


@pytest.mark.parametrize("depth", [65, 600, 960, 980, 5000])
@pytest.mark.parametrize(("opening", "closing"), ["[]", ('{"a":', "}")])
@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/fine_tuning/jobs"])
async def test_what_is_nested_too_deep_is_refused_on_every_path(
    world: World, api: httpx.AsyncClient, path: str, opening: str, closing: str, depth: int
) -> None:
    world.complete = Serving(b"{}")
    for levels, refused in ((depth, True), (63, False)):
        body = f'{{"model": "{BASE}", "messages": {opening * levels}1{closing * levels}}}'
        response = await api.post(path, content=body)
        assert ("nested deeper than 64" in response.text) is refused
        assert response.status_code == 400 or not refused


class Caller:
    """An ASGI client that sees each message when it is sent and can leave whenever it likes."""

    def __init__(self, world: World, key: str) -> None:
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self.gone = asyncio.Event()
        body = json.dumps({**ASKED, "stream": True}).encode()
        self._messages = [{"type": "http.request", "body": body, "more_body": False}]
        scope = {
            "type": "http",
            "method": "POST",
            "path": CHAT,
            "query_string": b"",
            "root_path": "",
            "headers": [(b"authorization", f"Bearer {key}".encode())],
        }
        self.task = asyncio.create_task(world.app(scope, self._receive, self.sent.put))

    async def _receive(self) -> Any:
        if self._messages:
            return self._messages.pop()
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def test_a_stream_leaves_chunk_by_chunk(world: World, key: str) -> None:
    world.complete = serving = Serving(b"data: 1\n\n", b"data: [DONE]\n\n", media_type="text/event-stream")
    caller = Caller(world, key)
    assert (await caller.sent.get())["status"] == 200
    assert (await caller.sent.get())["body"] == b"data: 1\n\n"
    assert caller.sent.empty()
    serving.go_on.set()
    assert (await caller.sent.get())["body"] == b"data: [DONE]\n\n"
    await caller.task
    assert caller.sent.get_nowait()["more_body"] is False


async def test_a_client_that_leaves_stops_the_work(world: World, key: str) -> None:
    world.complete = serving = Serving(b"data: 1\n\n", b"data: 2\n\n", media_type="text/event-stream")
    caller = Caller(world, key)
    await caller.sent.get()
    await caller.sent.get()
    caller.gone.set()
    await asyncio.wait_for(caller.task, 5)
    assert serving.cancelled
    assert serving.reply is not None
    assert serving.reply.closed


async def test_a_client_that_leaves_before_the_answer_begins_stops_the_work(world: World, key: str) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    world.complete = slow
    caller = Caller(world, key)
    await begun.wait()
    caller.gone.set()
    await asyncio.wait_for(caller.task, 5)
    assert cancelled.is_set()


async def test_a_stream_that_breaks_off_says_so(world: World, key: str) -> None:
    world.complete = serving = Serving(b"data: 1\n\n", b"data: 2\n\n", media_type="text/event-stream")
    serving.breaks = True
    serving.go_on.set()
    caller = Caller(world, key)
    await caller.task
    bodies = [caller.sent.get_nowait() for _ in range(caller.sent.qsize())][1:]
    told = json.loads(bodies[1]["body"].removeprefix(b"data: "))
    assert told["error"]["code"] == "service_unavailable"
    assert bodies[-1]["more_body"] is False


async def test_an_answer_that_breaks_off_is_cut_and_not_completed(world: World, api: httpx.AsyncClient) -> None:
    world.complete = serving = Serving(b'{"half', b'": 1}')
    serving.breaks = True
    serving.go_on.set()
    with pytest.raises(Exception, match="serving"):
        await api.post(CHAT, json=ASKED)


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
