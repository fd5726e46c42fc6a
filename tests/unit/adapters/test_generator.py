"""The generator's adapter against real HTTP on loopback."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from contracts.ports import BusyError, FaultyError, RefusedError, UnavailableError
from infra.adapters.http.generator import HttpGenerate
from infra.local.ports import LOOPBACK, LocalPorts

KEY = "sk-secret"


class Server:
    """An endpoint of which the test says what it answers."""

    def __init__(self) -> None:
        self.url = ""
        self.answer: Response = JSONResponse({"choices": [{"message": {"content": "yes"}}]})
        self.keys: list[str | None] = []
        self.callers: set[object] = set()
        """Of connections: where they come from."""

    async def endpoint(self, request: Request) -> Response:
        self.keys.append(request.headers.get("authorization"))
        self.callers.add(request.client)
        return self.answer


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    port = LocalPorts({}, usual=False).choose("serving", 0)
    app = Starlette(routes=[Route("/v1/chat/completions", made.endpoint, methods=["POST"])])
    running = uvicorn.Server(uvicorn.Config(app, host=LOOPBACK, port=port, log_level="error", lifespan="off"))
    made.url = f"http://{LOOPBACK}:{port}/v1/"
    task = asyncio.create_task(running.serve())
    while not running.started:
        await asyncio.sleep(0.01)
    yield made
    running.should_exit = running.force_exit = True
    await task


@pytest.fixture
async def generate(server: Server) -> AsyncIterator[HttpGenerate]:
    made = HttpGenerate(server.url, "writer", KEY, seconds=30)
    yield made
    await made.close()


async def test_the_first_choice_is_returned_and_the_key_goes_to_the_endpoint_alone(
    server: Server, generate: HttpGenerate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    caplog.set_level(logging.DEBUG)
    assert await generate({"model": "writer", "messages": []}) == "yes"
    assert server.keys == [f"Bearer {KEY}"]
    assert KEY not in caplog.text


async def test_a_thousand_models_of_one_endpoint_are_asked_over_one_connection(
    server: Server, generate: HttpGenerate
) -> None:
    models = [generate.another(f"judge-{number}", {"x-model": str(number)}) for number in range(1000)]
    assert [model.model for model in models[:2]] == ["judge-0", "judge-1"]
    for model in models[:20]:
        assert await model({"model": model.model, "messages": []}) == "yes"
    assert server.keys == [f"Bearer {KEY}"] * 20
    assert len(server.callers) == 1


@pytest.mark.parametrize("seconds", ["12", "in an hour", "soon", None])
async def test_a_busy_endpoint_says_when_to_come_back(
    seconds: str | None, server: Server, generate: HttpGenerate
) -> None:
    if seconds == "in an hour":
        seconds = format_datetime(datetime.now(UTC) + timedelta(seconds=3600))
    server.answer = Response(status_code=429, headers={"retry-after": seconds} if seconds else {})
    with pytest.raises(BusyError) as raised:
        await generate({})
    named = raised.value.retry_after
    if seconds in ("soon", None):
        assert named is None
    else:
        assert named is not None
        assert (named == 12) if seconds == "12" else (3000 < named <= 3600)


@pytest.mark.parametrize(
    "answer",
    [
        Response(status_code=500),
        Response(status_code=408),
        Response("<html>", status_code=200),
        JSONResponse({"choices": []}),
        JSONResponse([]),
        Response(b'{"choices": "' + b"x" * (5 * 2**20), status_code=200),
    ],
)
async def test_who_answers_wrongly_is_faulty(answer: Response, server: Server, generate: HttpGenerate) -> None:
    server.answer = answer
    with pytest.raises(FaultyError):
        await generate({})


async def test_who_asks_to_come_back_later_is_away(server: Server, generate: HttpGenerate) -> None:
    server.answer = Response(status_code=503)
    with pytest.raises(UnavailableError) as away:
        await generate({})
    assert not isinstance(away.value, FaultyError)


async def test_a_byte_now_and_then_does_not_hold_the_caller(server: Server) -> None:
    generate = HttpGenerate(server.url, "writer", KEY, seconds=0.3)

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.02)

    server.answer = StreamingResponse(drip(), media_type="application/json")
    with pytest.raises(UnavailableError, match=r"within 0.3 s"):
        await generate({})
    await generate.close()


@pytest.mark.parametrize("status", [301, 400, 401, 404, 422])
async def test_a_refusal_names_the_status_and_not_what_the_endpoint_said(
    status: int, server: Server, generate: HttpGenerate
) -> None:
    server.answer = Response(f"invalid key {KEY}", status_code=status, headers={"location": "/elsewhere"})
    with pytest.raises(RefusedError, match=str(status)) as raised:
        await generate({})
    assert (raised.value.status, KEY in str(raised.value)) == (status, False)


async def test_content_that_is_null_is_an_empty_answer(server: Server, generate: HttpGenerate) -> None:
    server.answer = JSONResponse({"choices": [{"message": {"content": None}}]})
    assert await generate({}) == ""


async def test_an_endpoint_that_is_not_there_is_unavailable() -> None:
    nobody = HttpGenerate(f"http://{LOOPBACK}:{LocalPorts({}, usual=False).choose('serving', 0)}/v1", "writer", KEY)
    with pytest.raises(UnavailableError, match="cannot be reached") as away:
        await nobody({})
    assert not isinstance(away.value, FaultyError)
    await nobody.close()
