"""/v1/responses: OpenAI's Responses in front of our own chats; at once, streamed, in the background, kept, deleted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Send

from contracts.manifest import ManifestRef
from contracts.ports import Reply, UnavailableError
from contracts.wire import openai
from contracts.wire.answers import Deleted
from contracts.wire.asked import CHAT
from contracts.wire.errors import ApiError
from contracts.wire.response_items import Item, read_input
from contracts.wire.responses import ResponseItemPage, ResponseQuery, ResponseRequest, of_response
from functions._shared.responding import Responding, chat_of, numbered
from functions._shared.server_sent import chat_chunks, written
from functions.edge import background, events, kept
from functions.edge.context import (
    Answer,
    deps,
    new_object_id,
    read,
    reply,
    reply_reserved,
    request_id,
    tenant,
    visible_model,
)
from functions.edge.errors import to_api_error
from functions.edge.listing import unknown_after
from functions.edge.refusals import no_model, no_response, unavailable
from functions.edge.relay import Ask, Watched, begin, piece, whole


async def create(request: Request) -> Response:
    """POST /responses: text, messages and calls of functions in and out; `stream`, `store`, `background`."""
    asked = await read(request, ResponseRequest)
    if asked.background:
        return await _create(request, asked)
    id = new_object_id(request, "resp_")
    new_id = numbered(id)
    items = [*await background.before(request, asked), *read_input(asked.input, new_id)]
    body = msgspec.json.encode(chat_of(asked, items))
    view = await visible_model(request, asked.model)
    if view is None:
        raise no_model(asked.model)
    manifest = ManifestRef.model_validate(view["manifest"])
    ask = partial(deps(request).complete, CHAT, body, manifest, request_id(request), tenant(request))
    responding = Responding(asked.response(id, int(time.time())), new_id)
    return Watched(partial(_answer, request, asked, items, responding, ask))


async def _create(request: Request, asked: ResponseRequest) -> Response:
    if asked.stream:
        events.check(request)
    reserved, view = await background.create(request, asked)
    if asked.stream:
        return events.created(request, await background.request_of(request, view), view, reserved)
    return await reply_reserved(request, reserved, (await background.content_of(request, view))["response"])


async def _answer(
    request: Request, asked: ResponseRequest, items: list[Item], responding: Responding, ask: Ask, send: Send
) -> None:
    reply: Reply = await ask()
    try:
        if reply.status != 200:
            raise of_response(_error(await _body(reply)), reply.status, reply.headers)
        if asked.stream:
            await begin(send, reply)
            await _stream(request, asked, items, responding, reply, send)
            return
        responding.whole(msgspec.json.decode(await _body(reply)), int(time.time()))
        await _keep(request, asked, items, responding)
        await whole(send, 200, msgspec.json.encode(responding.response))
    finally:
        await reply.close()


async def _stream(
    request: Request, asked: ResponseRequest, items: list[Item], responding: Responding, reply: Reply, send: Send
) -> None:
    """Tell a chat's chunks as a response's events; what is kept is kept before its last one."""
    for event in responding.begin():
        await piece(send, written(event))
    try:
        async for chunk in chat_chunks(reply.chunks()):
            if "error" in chunk:
                raise ApiError(chunk["error"]["message"], status=503)
            if told := b"".join(map(written, responding.chunk(chunk))):
                await piece(send, told)
        await piece(send, b"".join(map(written, responding.end(int(time.time())))))
        await _keep(request, asked, items, responding)
        last = responding.last()
    except (ApiError, UnavailableError) as error:
        told_error = to_api_error(error)
        assert told_error is not None
        last = responding.failed(told_error.message)
    await piece(send, written(last), last=True)


async def _keep(request: Request, asked: ResponseRequest, items: list[Item], responding: Responding) -> None:
    if asked.store:
        response = responding.response
        content = {"response": response, "input": items}
        await kept.keep(request, response["id"], "response", content, asked.metadata, asked.previous_response_id)


async def _body(reply: Reply) -> bytes:
    return b"".join([chunk async for chunk in reply.chunks()])


def _error(body: bytes) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(body)["error"]
    except (msgspec.DecodeError, LookupError, TypeError):
        raise unavailable("The serving process does not answer as it should") from None
    return found if isinstance(found, dict) else {}


async def retrieve(request: Request) -> Response:
    """GET /responses/{id}: a response that was kept, or one in the background as it is now; `stream`: its events."""
    asked = ResponseQuery.read(request.query_params)
    view = await _found(request)
    if asked.stream:
        return await events.stream(request, view, asked.starting_after)
    return reply((await background.content_of(request, view))["response"])


async def delete(request: Request) -> Answer[Deleted]:
    """DELETE /responses/{id}: its text is erased; responses that went on from it keep what they were asked with."""
    id: str = request.path_params["id"]
    view = await kept.found(request, "response", id)
    if view is not None:
        await background.cancel(request, view)
    if not await kept.forget(request, "response", id):
        raise no_response(id)
    return reply(openai.deleted(id, "response"))


async def cancel(request: Request) -> Response:
    """POST /responses/{id}/cancel: one in the background; what is over is answered as it is. Leaving stops others."""
    view = await _found(request)
    if view["background"]:
        view = await background.cancel(request, view)
        return reply((await background.content_of(request, view))["response"])
    sentence = "Only responses in the background can be cancelled. To stop another one, close its connection."
    raise ApiError(sentence, code="invalid_request")


async def list_input_items(request: Request) -> Response:
    """GET /responses/{id}/input_items: what it was made of, those of the responses before it included; newest first."""
    asked = ResponseItemPage.read(request.query_params)
    items: list[Item] = (await _content(request))["input"]
    items = items if asked.order == "asc" else items[::-1]
    if asked.after is not None:
        places = [place for place, item in enumerate(items) if item["id"] == asked.after]
        if not places:
            raise unknown_after(asked.after)
        items = items[places[-1] + 1 :]
    return reply(openai.page(items[: asked.limit], len(items) > asked.limit))


async def _content(request: Request) -> dict[str, Any]:
    return await background.content_of(request, await _found(request))


async def _found(request: Request) -> dict[str, Any]:
    id: str = request.path_params["id"]
    view = await kept.found(request, "response", id)
    if view is None:
        raise no_response(id)
    return view


ROUTES = [
    Route("/v1/responses", create, methods=["POST"]),
    Route("/v1/responses/{id}", retrieve, methods=["GET"]),
    Route("/v1/responses/{id}", delete, methods=["DELETE"]),
    Route("/v1/responses/{id}/cancel", cancel, methods=["POST"]),
    Route("/v1/responses/{id}/input_items", list_input_items, methods=["GET"]),
]
