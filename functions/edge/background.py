"""Responses in the background: asked for, shown while they are made, and what a response goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request

from contracts.controls import Reason, unheld
from contracts.envelope import derived_id, make
from contracts.events.completions import STAGE, CompletionCancelled, CompletionRequested
from contracts.ports import Reservation
from contracts.wire.errors import ApiError
from contracts.wire.openai import derived_seed
from contracts.wire.response_items import Item, read_input
from contracts.wire.responses import ResponseRequest, unanswered
from functions._shared.responding import chat_of, numbered
from functions.edge import kept
from functions.edge.context import (
    deps,
    end,
    new_object_id,
    owned,
    publish,
    reserve,
    tenant,
    visible_model,
)
from functions.edge.refusals import no_model, no_response

MOST_OPEN = 100
"""Responses in the background of a tenant that are not over."""


async def before(request: Request, asked: ResponseRequest) -> list[Item]:
    """Return what went into the response before this one, and what it answered; its instructions are not part of it."""
    id = asked.previous_response_id
    if id is None:
        return []
    view = await kept.found(request, "response", id)
    if view is None:
        raise no_response(id, previous=True)
    if view["status"] != "recorded":
        why = f"is {view['status']}: wait until it is over" if not view["over"] else f"was {view['status']}"
        sentence = f"Previous response with id '{id}' {why.replace('was failed', 'failed, and has no answer')}."
        raise ApiError(sentence, param="previous_response_id", code="previous_response_not_completed")
    content = await kept.content_of(request, id)
    return [*content["input"], *content["response"]["output"]]


async def create(request: Request, asked: ResponseRequest) -> tuple[Reservation, dict[str, Any]]:
    """Keep what is asked and say that it is; returns its view: a retry gets the same response."""
    new = new_object_id(request, "resp_")
    content = await _content(request, asked, new)
    reserved = await reserve(request, "responses", asked.model_dump(mode="json"), new)
    id = reserved.id
    view = await owned(request, "completions", id)
    if view is None:
        await _check_room(request)
        content = content if id == new else await _content(request, asked, id)
        await _request(request, asked, id, content)
        view = await owned(request, "completions", id)
    if view is None or view["deleted"]:
        raise no_response(id)
    return reserved, view


async def _content(request: Request, asked: ResponseRequest, id: str) -> dict[str, Any]:
    """Return all that is kept of a request; raises ApiError for what makes no sense."""
    items = [*await before(request, asked), *read_input(asked.input, numbered(id))]
    chat = chat_of(asked, items)
    if asked.stream:  # what breaks off has to come out the same when it is asked again
        chat["seed"] = derived_seed(id)
    if await visible_model(request, asked.model) is None:
        raise no_model(asked.model)
    return {"chat": chat, "input": items, "response": asked.response(id, 0)}


async def _check_room(request: Request) -> None:
    where = {"tenant": tenant(request), "background": True, "over": False}
    if await deps(request).documents.count("completions", where) >= MOST_OPEN:
        sentence = f"You have {MOST_OPEN} responses in the background that are not over. Wait for one, or cancel it."
        raise ApiError(sentence, status=429, code="too_many_responses", headers={"retry-after": "2"})


async def _request(request: Request, asked: ResponseRequest, id: str, content: Mapping[str, Any]) -> None:
    ports, owner = deps(request), tenant(request)
    body = msgspec.json.encode(content)  # the same of each try, so that its bytes are those that the event names
    data = CompletionRequested(
        model=asked.model,
        blob=await ports.blobs.put(f"{owner}/{id}/request", body, "application/json"),
        metadata=dict(asked.metadata),
        previous=asked.previous_response_id,
        expires_after=ports.stored_days * kept.DAY_SECONDS,
    )
    event_id = derived_id(id, "completion.requested")
    await publish(request, make(data, subject=id, tenant=owner, id=event_id))


async def request_of(request: Request, view: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a response in the background was asked with; raises BlobNotFoundError."""
    body = await deps(request).blobs.get(f"{view['tenant']}/{view['id']}/request")
    requested: dict[str, Any] = msgspec.json.decode(body)
    return requested


async def content_of(request: Request, view: Mapping[str, Any]) -> dict[str, Any]:
    """Return a response as it is now, and of what it was made; raises BlobNotFoundError."""
    if view["status"] == "recorded":
        return await kept.content_of(request, view["id"])
    content = await request_of(request, view)
    delay = None if view["over"] else unheld(await deps(request).controls.get(view["id"]))
    return {**content, "response": unrecorded(content, view, delay)}


def unrecorded(requested: Mapping[str, Any], view: Mapping[str, Any], delay: Reason | None) -> dict[str, Any]:
    """Return a response without an answer."""
    return {**unanswered(requested["response"], view), "delay": delay}


async def cancel(request: Request, view: dict[str, Any]) -> dict[str, Any]:
    """End a response unless it is over, which stops its work; returns it as it is then."""
    if not view["over"]:
        id = view["id"]
        event = make(CompletionCancelled(), subject=id, tenant=tenant(request), id=derived_id(id, "end"))
        await end(request, STAGE, event)
        view = await owned(request, "completions", id) or view
    return view
