"""/v1/chat/completions, /v1/completions and /v1/embeddings: names are resolved here, bytes pass through unparsed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from contracts.manifest import ManifestRef
from contracts.ports import Reply, UnavailableError
from contracts.wire import openai
from contracts.wire import request as wire
from contracts.wire.completions import Chat, Completion
from contracts.wire.embeddings import Embeddings
from functions.edge.context import MAX_JSON, deps, read_completion, request_id, tenant, visible_model
from functions.edge.refusals import no_model

log = logging.getLogger(__name__)
PASSED_ON = ("content-type", "content-length", "retry-after")
MAX_INPUTS_BYTES = 4 * 2**20
"""Of a request for embeddings: as many tokens as it may have, as texts or as ids."""
_BROKEN = "The serving process went away in the middle of the answer. Please try again."


async def create_chat(request: Request) -> Response:
    """POST /chat/completions."""
    return await _complete(request, "/v1/chat/completions", Chat)


async def create_completion(request: Request) -> Response:
    """POST /completions."""
    return await _complete(request, "/v1/completions", Completion)


async def create_embeddings(request: Request) -> Response:
    """POST /embeddings."""
    return await _complete(request, "/v1/embeddings", Embeddings, MAX_INPUTS_BYTES)


async def _complete(request: Request, path: str, known: type[wire.Request], most: int = MAX_JSON) -> Response:
    body, name = await read_completion(request, known, most)
    view = await visible_model(request, name)
    if view is None:
        raise no_model(name)
    manifest = ManifestRef.model_validate(view["manifest"])
    complete, id, owner = deps(request).complete, request_id(request), tenant(request)
    return Relay(lambda: complete(path, body, manifest, id, owner))


class Relay(Response):
    """An answer of the serving process, passed on as it comes; a client that leaves stops it."""

    def __init__(self, ask: Callable[[], Awaitable[Reply]]) -> None:
        super().__init__()
        self._ask = ask

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask and pass on, until the answer ends or the client is gone."""
        passing = asyncio.ensure_future(self._pass_on(send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((passing, leaving), return_when=asyncio.FIRST_COMPLETED)
            if passing.done():
                passing.result()
        finally:
            for task in (passing, leaving):
                task.cancel()
            await asyncio.gather(passing, leaving, return_exceptions=True)

    async def _pass_on(self, send: Send) -> None:
        reply = await self._ask()
        try:
            headers = [
                (name.encode(), value.encode("latin-1"))
                for name, value in ((name, reply.headers.get(name)) for name in PASSED_ON)
                if value is not None
            ]
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            streamed = reply.headers.get("content-type", "").startswith("text/event-stream")
            async for chunk in _told(reply.chunks()) if streamed else reply.chunks():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await reply.close()


async def _told(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a stream's bytes; when it breaks off, say so in it, as the official client understands."""
    try:
        async for chunk in chunks:
            yield chunk
    except UnavailableError as error:
        log.warning("a streamed answer broke off: %s", error)
        told = openai.error(_BROKEN, "server_error", None, "service_unavailable")
        yield b"data: " + msgspec.json.encode(told) + b"\n\n"


async def _left(receive: Receive) -> None:
    """Return when the client is gone."""
    with suppress(asyncio.CancelledError):
        while (await receive())["type"] != "http.disconnect":
            pass


ROUTES = [
    Route("/v1/chat/completions", create_chat, methods=["POST"]),
    Route("/v1/completions", create_completion, methods=["POST"]),
    Route("/v1/embeddings", create_embeddings, methods=["POST"]),
]
