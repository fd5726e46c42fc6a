"""Events of a response in the background, sent while a worker keeps them and afterwards: every edge sends the same."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from functools import partial
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from contracts.ports import BlobNotFoundError, Reservation, UnavailableError
from contracts.wire.errors import ApiError
from functions._shared.responding import Responding, begun, is_streamed, last_event, numbered
from functions._shared.segments import FIRST, Segments
from functions._shared.server_sent import written
from functions.edge import background
from functions.edge.context import deps, owned, tenant
from functions.edge.relay import Watched, piece

MOST_STREAMS = 100
"""Of responses in the background that an edge sends a tenant at the same time."""
PING_SECONDS = 15.0
"""After which a comment says that the stream lives: proxies close what is silent."""
_SOON, _NEXT, _MOST, _SLOWER = 0.1, 0.25, 1.0, 1.5
"""Seconds until it is looked again at first, after something came and at most; how they grow while nothing does."""
_TYPE = "text/event-stream; charset=utf-8"
_HEAD = [(b"content-type", _TYPE.encode()), (b"cache-control", b"no-cache")]
log = logging.getLogger(__name__)
Told = tuple[int, list[bytes]]
"""The number of the first of some events, and they; none where nothing has come."""


async def stream(request: Request, view: Mapping[str, Any], after: int | None) -> Response:
    """Return the events of a response behind number `after`, None: all of them; raises ApiError where none are kept."""
    if not view["background"]:
        raise _not_kept("background=true")
    requested = await background.request_of(request, view)
    if not is_streamed(requested):
        raise _not_kept("stream=true")
    if request.method == "HEAD":
        return Response(media_type="text/event-stream")
    check(request)
    return Watched(partial(_send, request, requested, view, -1 if after is None else after, None))


def created(request: Request, requested: Mapping[str, Any], view: Mapping[str, Any], reserved: Reservation) -> Response:
    """Return all events of a response that a POST made; its reply is complete when the client has got the first."""
    return Watched(partial(_send, request, requested, view, -1, reserved))


def check(request: Request) -> None:
    """Refuse a stream where the tenant has too many; raises ApiError."""
    if deps(request).streams[tenant(request)] >= MOST_STREAMS:
        sentence = f"You have {MOST_STREAMS} streams of responses in the background open. Close one, or retrieve."
        raise ApiError(sentence, status=429, code="too_many_streams", headers={"retry-after": "2"})


@contextmanager
def _counted(request: Request) -> Iterator[None]:
    check(request)
    streams, owner = deps(request).streams, tenant(request)
    streams[owner] += 1
    try:
        yield
    finally:
        streams[owner] -= 1


def _not_kept(what: str) -> ApiError:
    return ApiError(f"This response cannot be streamed because it was not created with {what}.", param="stream")


async def _send(
    request: Request,
    requested: Mapping[str, Any],
    view: Mapping[str, Any],
    after: int,
    reserved: Reservation | None,
    send: Send,
) -> None:
    with _counted(request):
        await send({"type": "http.response.start", "status": 200, "headers": _HEAD})
        number, sent = after + 1, time.monotonic()
        over = False
        while not over:
            try:
                async with aclosing(_told(request, requested, view, number)) as told:
                    async for place, events in told:
                        fresh = events[max(0, number - place) :]
                        number = max(number, place + len(events))
                        if not fresh and time.monotonic() - sent < PING_SECONDS:
                            continue
                        await piece(send, b"".join(fresh) or b": ping\n\n")
                        sent = time.monotonic()
                        if reserved is not None:
                            await deps(request).requests.complete(reserved)
                            reserved = None
                over = True
            except UnavailableError as error:
                log.warning("the events of %s wait: %s", view["id"], error)
                await asyncio.sleep(_MOST)
        await piece(send, b"", last=True)


async def _told(
    request: Request, requested: Mapping[str, Any], view: Mapping[str, Any], number: int
) -> AsyncGenerator[Told, None]:
    """Yield events from the segment of `number` on, as they come, to the last; raises UnavailableError."""
    if number < FIRST:
        opening = Responding(begun(requested, view), numbered(view["id"])).begin()
        yield 0, [written(event) for event in islice(opening, FIRST)]
    segments, wait = Segments(deps(request).blobs, view["tenant"], view["id"]), _SOON
    place = await segments.before(number)
    while True:
        events = await segments.at(place)
        if events:
            yield place, events
            place, wait = place + len(events), _NEXT
            continue
        now = await owned(request, "completions", view["id"]) or {**view, "over": True, "deleted": True}
        if not now["over"]:
            yield place, []
            await asyncio.sleep(wait)
            wait = min(wait * _SLOWER, _MOST)
        elif await segments.is_whole():
            start = FIRST
            async for events in segments.whole():
                if start + len(events) > place:
                    yield start, events
                start += len(events)
            place = start
            break
        elif events == [] or now["deleted"]:
            break
        else:
            await _close(request, segments, place, view["id"])
    if (last := await _last(request, requested, now)) is not None:
        yield place, [written(last_event(last, place))]


async def _close(request: Request, segments: Segments, place: int, id: str) -> None:
    """Let nobody add events to a response that is over: its last one has a number now."""
    await segments.add(place, [])
    now = await owned(request, "completions", id)
    if now is None or now["deleted"]:  # a deletion says so before it erases: one of the two sees the other
        await deps(request).blobs.delete(f"{tenant(request)}/{id}/")


async def _last(request: Request, requested: Mapping[str, Any], view: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a response that is over, None where its answer is deleted."""
    if view["status"] != "recorded":
        return background.unrecorded(requested, view, None)
    try:
        content = await background.content_of(request, view)
    except BlobNotFoundError:
        return None
    response: dict[str, Any] = content["response"]
    return response
