"""The adapters of serving against a real HTTP server on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from contracts.manifest import ManifestRef
from contracts.ports import Proof, ProofFailedError, UnavailableError
from infra.adapters.http.serving import HttpComplete, HttpProve, Serving
from infra.local.ports import LOOPBACK, LocalPorts

MODEL = ManifestRef(key="local/model/manifest.json", sha256="ab" * 32)


@dataclass
class Server:
    """A serving process of which the test says what it answers."""

    url: str = ""
    answer: Response | None = None
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def endpoint(self, request: Request) -> Response:
        self.requests.append((request.url.path, dict(request.headers), json.loads(await request.body() or b"null")))
        return self.answer or StreamingResponse(self.forever(), media_type="text/event-stream")

    async def forever(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"data: {}\n\n"
                await asyncio.sleep(0.01)
        finally:
            self.closed.set()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = Starlette(routes=[Route("/{path:path}", made.endpoint, methods=["GET", "POST"])])
    port = LocalPorts({}, usual=False).choose("serving", 0)
    running = uvicorn.Server(uvicorn.Config(app, host=LOOPBACK, port=port, log_level="error", lifespan="off"))
    made.url = f"http://{LOOPBACK}:{port}"
    task = asyncio.create_task(running.serve())
    while not running.started:
        await asyncio.sleep(0.01)
    yield made
    running.should_exit = running.force_exit = True
    await task


@pytest.fixture
async def serving(server: Server) -> AsyncIterator[Serving]:
    serving = Serving(server.url)
    yield serving
    await serving.close()


async def test_an_answer_is_passed_on_as_it_is(server: Server, serving: Serving) -> None:
    server.answer = Response(
        b'{ "choices" : [] }', status_code=429, headers={"retry-after": "3", "content-type": "application/json"}
    )
    reply = await HttpComplete(serving)("/v1/chat/completions", b'{"model":"m"}', MODEL, "req-1", "acme")
    assert (reply.status, reply.headers["retry-after"], reply.headers["content-type"]) == (429, "3", "application/json")
    assert b"".join([chunk async for chunk in reply.chunks()]) == b'{ "choices" : [] }'
    await reply.close()
    ((path, headers, body),) = server.requests
    assert (path, body) == ("/v1/chat/completions", {"model": "m"})
    assert headers["x-temper-manifest"] == f"{MODEL.key}#{MODEL.sha256}"
    assert (headers["x-request-id"], headers["x-temper-tenant"]) == ("req-1", "acme")


async def test_a_stream_comes_in_pieces_and_ends_when_it_is_closed(server: Server, serving: Serving) -> None:
    reply = await HttpComplete(serving)("/v1/chat/completions", b"{}", MODEL, "req-1", "acme")
    chunks = reply.chunks()
    assert await anext(chunks) == b"data: {}\n\n"
    assert not server.closed.is_set()
    await reply.close()
    async with asyncio.timeout(5):
        await server.closed.wait()


async def test_a_cancelled_reader_stops_the_work(server: Server, serving: Serving) -> None:
    async def read() -> None:
        reply = await HttpComplete(serving)("/v1/chat/completions", b"{}", MODEL, "req-1", "acme")
        async for _ in reply.chunks():
            pass

    task = asyncio.create_task(read())
    while not server.requests:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        await server.closed.wait()


async def test_serving_that_breaks_off_is_transient(server: Server, serving: Serving) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield b"half"

    server.answer = StreamingResponse(half(), headers={"content-length": "100"})
    reply = await HttpComplete(serving)("/v1/completions", b"{}", MODEL, "req-1", "acme")
    with pytest.raises(UnavailableError, match="serving"):
        async for _ in reply.chunks():
            pass
    await reply.close()


async def test_serving_that_is_away_is_transient() -> None:
    serving = Serving(f"http://{LOOPBACK}:{LocalPorts({}, usual=False).choose('nobody', 0)}")
    for call in (
        HttpComplete(serving)("/v1/completions", b"{}", MODEL, "req-1", "acme"),
        HttpProve(serving)(MODEL, [], None, []),
        serving.ping(),
    ):
        with pytest.raises(UnavailableError) as told:
            await call
        assert told.value.dependency == "serving"
    await serving.close()


async def test_a_proof_is_asked_for_and_returned(server: Server, serving: Serving) -> None:
    server.answer = JSONResponse({"ok": True, "prompt_ids": [1, 2], "answer": "yes"})
    messages = [{"role": "user", "content": "Is it so?"}]
    assert await HttpProve(serving)(MODEL, messages, None, [1, 2]) == Proof((1, 2), "yes")
    ((path, _, body),) = server.requests
    assert path == "/v1/prove"
    assert body == {
        "manifest": {"key": MODEL.key, "sha256": MODEL.sha256},
        "messages": messages,
        "tools": None,
        "expected_ids": [1, 2],
    }


async def test_a_failed_proof_says_what_is_wrong(server: Server, serving: Serving) -> None:
    error = {"message": "A weight is not finite.", "type": "invalid_request_error", "param": None, "code": "not_finite"}
    server.answer = JSONResponse({"error": error}, 422)
    with pytest.raises(ProofFailedError, match=r"A weight is not finite\.") as told:
        await HttpProve(serving)(MODEL, [], None, [])
    assert told.value.code == "not_finite"


@pytest.mark.parametrize("status", [400, 404, 409, 413])
@pytest.mark.parametrize("body", [{"error": {"message": "No.", "code": None}}, {"error": {}}, {}, [], None])
async def test_any_refusal_is_a_verdict(server: Server, serving: Serving, status: int, body: Any) -> None:
    server.answer = JSONResponse(body, status)
    with pytest.raises(
        ProofFailedError, match="No" if body and "error" in body and body["error"] else str(status)
    ) as told:
        await HttpProve(serving)(MODEL, [], None, [])
    assert told.value.code == "proof_refused"


@pytest.mark.parametrize("status", [500, 503, 408, 429, 302])
async def test_no_verdict_is_no_proof(server: Server, serving: Serving, status: int) -> None:
    server.answer = JSONResponse({"error": {}}, status)
    with pytest.raises(UnavailableError, match=str(status)):
        await HttpProve(serving)(MODEL, [], None, [])
