"""/v1/chat/completions of those that were asked with `store`: kept, listed, retrieved, labelled, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Send

from contracts.ports import BlobNotFoundError, Reply
from contracts.wire import openai
from contracts.wire.completions import KeptChat
from contracts.wire.requests import ChatPage
from contracts.wire.stored_chats import KEPT, Together, stored_chat, stored_messages
from functions._shared.server_sent import data_of, server_sent
from functions.edge import kept
from functions.edge.context import deps, in_windows, owned, read, reply, request_id, tenant
from functions.edge.listing import beyond, metadata_filter, unknown_after
from functions.edge.refusals import no_chat
from functions.edge.relay import Ask, begin, is_stream, piece, told

MOST_SHOWN = 16 * 2**20
"""Bytes of stored chats that one page is made of."""
_AT_ONCE = 8


async def keep_chat(
    request: Request, given: Mapping[str, Any], metadata: Mapping[str, str], ask: Ask, send: Send
) -> None:
    """Pass an answer on as it comes, and keep it before its end is told."""
    reply = await ask()
    try:
        if reply.status == 200 and is_stream(reply):
            await begin(send, reply)
            await _keep_stream(request, given, metadata, reply, send)
            return
        body = b"".join([chunk async for chunk in reply.chunks()])
        if reply.status == 200:
            await _keep(request, given, metadata, msgspec.json.decode(body))
        await begin(send, reply)
        await piece(send, body, last=True)
    finally:
        await reply.close()


async def _keep_stream(
    request: Request, given: Mapping[str, Any], metadata: Mapping[str, str], reply: Reply, send: Send
) -> None:
    together = Together()

    async def events() -> Any:
        async for event in server_sent(reply.chunks()):
            data = data_of(event)
            if data == b"[DONE]":
                await _keep(request, given, metadata, together.completion())
            elif "choices" in (chunk := msgspec.json.decode(data)):
                together.add(chunk)
            yield event

    async for event in told(events()):
        await piece(send, event)
    await piece(send, b"", last=True)


async def _keep(
    request: Request, given: Mapping[str, Any], metadata: Mapping[str, str], completion: dict[str, Any]
) -> None:
    asked = {name: given[name] for name in KEPT if given.get(name) is not None}
    content = {"request": asked, "completion": completion, "request_id": request_id(request)}
    await kept.keep(request, completion["id"], "chat", content, metadata)


async def list_chats(request: Request) -> Response:
    """GET /chat/completions?model&metadata[k]&since&order: those that are kept, oldest first."""
    asked = ChatPage.read(request.query_params)
    where: dict[str, Any] = {"tenant": tenant(request), "kind": "chat", "deleted": False}
    where |= metadata_filter(request.query_params, "metadata")
    if asked.model is not None:
        where["model"] = asked.model
    if asked.since is not None:
        where["created_at"] = {"$gte": asked.since * 1000}
    filters = [where]
    if asked.after is not None:
        last = await owned(request, "completions", asked.after[:128])
        if last is None or last["kind"] != "chat":
            raise unknown_after(asked.after)
        filters.append(beyond(last, asked.sort))
    windows = in_windows(deps(request).documents, "completions", {"$and": filters}, asked.sort, asked.limit + 1)
    views = [view async for window in windows for view in window]
    shown = _fitting(views[: asked.limit])
    contents = []
    for at in range(0, len(shown), _AT_ONCE):
        contents += await asyncio.gather(*(_content(request, view) for view in shown[at : at + _AT_ONCE]))
    return reply(openai.page([each for each in contents if each is not None], len(views) > len(shown)))


def _fitting(views: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first of them, as many as fit into one answer."""
    size = 0
    for place, view in enumerate(views):
        size += view["blob"]["bytes"]
        if place and size > MOST_SHOWN:
            return views[:place]
    return views


async def _content(request: Request, view: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a stored chat, None for one that is deleted at this moment."""
    try:
        return stored_chat(await kept.content_of(request, view["id"]), view["metadata"])
    except BlobNotFoundError:
        return None


async def retrieve_chat(request: Request) -> Response:
    """GET /chat/completions/{id}: what was answered, and with what it was asked."""
    view = await _chat(request)
    return reply(stored_chat(await kept.content_of(request, view["id"]), view["metadata"]))


async def update_chat(request: Request) -> Response:
    """POST /chat/completions/{id} {metadata}: in the place of those that it had."""
    view = await _chat(request)
    metadata = (await read(request, KeptChat)).metadata
    if metadata != view["metadata"]:
        await kept.label(request, view["id"], metadata)
    return reply(stored_chat(await kept.content_of(request, view["id"]), metadata))


async def delete_chat(request: Request) -> Response:
    """DELETE /chat/completions/{id}: its text is erased."""
    id: str = request.path_params["id"]
    if not await kept.forget(request, "chat", id):
        raise no_chat(id)
    return reply(openai.deleted(id, "chat.completion.deleted"))


async def list_messages(request: Request) -> Response:
    """GET /chat/completions/{id}/messages: what it was asked with."""
    asked = ChatPage.read(request.query_params)
    view = await _chat(request)
    messages = stored_messages(view["id"], await kept.content_of(request, view["id"]))
    messages = messages if asked.order == "asc" else messages[::-1]
    if asked.after is not None:
        ids = [each["id"] for each in messages]
        if asked.after not in ids:
            raise unknown_after(asked.after)
        messages = messages[ids.index(asked.after) + 1 :]
    return reply(openai.page(messages[: asked.limit], len(messages) > asked.limit))


async def _chat(request: Request) -> dict[str, Any]:
    id: str = request.path_params["id"]
    view = await kept.found(request, "chat", id)
    if view is None:
        raise no_chat(id)
    return view


ROUTES = [
    Route("/v1/chat/completions", list_chats, methods=["GET"]),
    Route("/v1/chat/completions/{id}", retrieve_chat, methods=["GET"]),
    Route("/v1/chat/completions/{id}", update_chat, methods=["POST"]),
    Route("/v1/chat/completions/{id}", delete_chat, methods=["DELETE"]),
    Route("/v1/chat/completions/{id}/messages", list_messages, methods=["GET"]),
]
