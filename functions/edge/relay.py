"""Answers that a model writes while the client waits: whoever leaves stops the work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from contracts.ports import Reply, UnavailableError
from contracts.wire import openai

log = logging.getLogger(__name__)
Work = Callable[[Send], Awaitable[None]]
Ask = Callable[[], Awaitable[Reply]]
PASSED_ON = ("content-type", "content-length", "retry-after")
_BROKEN = "The serving process went away in the middle of the answer. Please try again."


class Watched(Response):
    """An answer that `work` sends; a client that leaves stops it."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Work until the answer ends or the client is gone."""
        working = asyncio.ensure_future(self._work(send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
        finally:
            for task in (working, leaving):
                task.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    """Return when the client is gone."""
    with suppress(asyncio.CancelledError):
        while (await receive())["type"] != "http.disconnect":
            pass


async def begin(send: Send, reply: Reply) -> None:
    """Send the head of an answer that is passed on."""
    found = ((name, reply.headers.get(name)) for name in PASSED_ON)
    headers = [(name.encode(), value.encode("latin-1")) for name, value in found if value is not None]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})


def is_stream(reply: Reply) -> bool:
    """Return whether an answer comes as server-sent events."""
    return reply.headers.get("content-type", "").startswith("text/event-stream")


async def told(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a stream's bytes; when it breaks off, say so in it, as the official client understands."""
    try:
        async for chunk in chunks:
            yield chunk
    except UnavailableError as error:
        log.warning("a streamed answer broke off: %s", error)
        said = openai.error(_BROKEN, "server_error", None, "service_unavailable")
        yield b"data: " + msgspec.json.encode(said) + b"\n\n"


async def piece(send: Send, body: bytes, last: bool = False) -> None:
    """Send a part of an answer's body."""
    await send({"type": "http.response.body", "body": body, "more_body": not last})


async def whole(send: Send, status: int, body: bytes) -> None:
    """Send a JSON answer."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await piece(send, body, last=True)
