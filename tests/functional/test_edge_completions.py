"""Completions: names resolve at the edge, bytes pass through, a client that leaves stops the work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from contracts.documents.models import PUBLIC
from contracts.events.models import ModelRegistered
from contracts.manifest import ManifestRef
from contracts.ports import UnavailableError
from tests.functional.edge import BASE, REF, CannedReply, World
from tests.functional.test_edge_files import error

CHAT = "/v1/chat/completions"
ASKED = {"model": BASE, "messages": [{"role": "user", "content": "Hi"}]}


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


async def test_embeddings_pass_through_and_may_be_larger_than_chats(world: World, api: httpx.AsyncClient) -> None:
    world.complete = serving = Serving(b"{}")
    body = json.dumps({"model": BASE, "input": ["x" * 2**20] * 3}).encode()
    assert (await api.post("/v1/embeddings", content=body)).status_code == 200
    assert [(path, sent) for path, sent, *_ in serving.asked] == [("/v1/embeddings", body)]
    large = json.dumps({"model": BASE, "input": "x" * 2**22}).encode()
    assert error(await api.post("/v1/embeddings", content=large), 413)["code"] == "request_too_large"
    assert error(await api.post("/v1/embeddings", json={"model": "no", "input": "x"}), 404)["code"] == "model_not_found"


async def test_a_model_of_embeddings_is_listed_as_one_and_neither_tuned_nor_deleted(
    world: World, api: httpx.AsyncClient
) -> None:
    data = ModelRegistered(
        kind="embedding", manifest=REF, template_sha256="1" * 64, context=256, owned_by="temper", dimensions=384
    )
    await world.say(data, "mini", PUBLIC)
    assert (await api.get("/v1/models/mini")).json()["temper"] == {"kind": "embedding", "dimensions": 384}
    assert error(await api.delete("/v1/models/mini"), 403)["code"] == "model_not_deletable"
    asked = {"model": "mini", "training_file": "file-1"}
    assert error(await api.post("/v1/fine_tuning/jobs", json=asked), 400)["code"] == "unsupported_model"
    assert error(await api.post("/v1/benchmarks", json={"model": "mini"}), 400)["code"] == "unsupported_model"


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

    def __init__(
        self, world: World, key: str, path: str = CHAT, asked: dict[str, Any] | None = None, method: str = "POST"
    ) -> None:
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self.gone = asyncio.Event()
        body = json.dumps(asked or {**ASKED, "stream": True}).encode()
        self._messages = [{"type": "http.request", "body": body, "more_body": False}]
        scope = {
            "type": "http",
            "method": method,
            "path": path.partition("?")[0],
            "query_string": path.partition("?")[2].encode(),
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
