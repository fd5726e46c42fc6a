"""/v1/webhook_endpoints, /v1/notifications: who is called when a job has ended, and who was told."""

from __future__ import annotations

import base64
import secrets
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.controls import unheld
from contracts.envelope import derived_id, make
from contracts.events.notifications import (
    Told,
    WebhookEndpointCreated,
    WebhookEndpointDeleted,
    WebhookEndpointUpdated,
    webhook_secret,
)
from contracts.wire import openai
from contracts.wire.answers import Notification, Page
from contracts.wire.requests import PageQuery, RotateRequest, WebhookRequest, WebhookUpdate
from functions.edge.context import (
    Answer,
    deps,
    is_retry,
    list_page,
    new_object_id,
    owned,
    publish,
    read,
    reply,
    reply_reserved,
    reserve,
    tenant,
)
from functions.edge.refusals import no_endpoint, no_notification

SECRET_BYTES = 32


async def create(request: Request) -> Response:
    """POST /webhook_endpoints {name, url, event_types}: the answer alone shows the signing secret."""
    asked = await read(request, WebhookRequest)
    same = asked.model_dump(mode="json")
    reservation = await reserve(request, "webhook_endpoints", same, new_object_id(request, "we_"))
    id = reservation.id
    view, secret = await owned(request, "webhook_endpoints", id), await _secret(request, id)
    if view is None or secret is None:
        secret = secret or await _new_secret(request, id)
        data = WebhookEndpointCreated(**same, hint=secret[-4:])
        event = make(data, subject=id, tenant=tenant(request), id=derived_id(id, "webhook_endpoint.created"))
        await publish(request, event)
        view = await _find(request, id)
    return await reply_reserved(request, reservation, openai.webhook_endpoint(view, secret))


async def list_endpoints(request: Request) -> Response:
    """GET /webhook_endpoints: newest first."""
    asked = PageQuery.read(request.query_params)
    return await list_page(request, "webhook_endpoints", {"deleted": False}, asked, openai.webhook_endpoint)


async def retrieve(request: Request) -> Response:
    """GET /webhook_endpoints/{id}."""
    return reply(openai.webhook_endpoint(await _find(request)))


async def update(request: Request) -> Response:
    """POST /webhook_endpoints/{id} {name?, url?, event_types?}."""
    view = await _find(request)
    said = (await read(request, WebhookUpdate)).model_dump(mode="json", exclude_none=True)
    if any(view[name] != value for name, value in said.items()):
        view = await _updated(request, {**_said(view), **said})
    return reply(openai.webhook_endpoint(view))


async def rotate_secret(request: Request) -> Response:
    """POST /webhook_endpoints/{id}/rotate_secret: a new signing secret, at once."""
    view = await _find(request)
    await read(request, RotateRequest)
    secret = await _new_secret(request, view["id"])
    return reply(openai.webhook_endpoint(await _updated(request, {**_said(view), "hint": secret[-4:]}), secret))


async def delete(request: Request) -> Response:
    """DELETE /webhook_endpoints/{id}: it is called no more, and its secret is forgotten."""
    id: str = request.path_params["id"]
    view = await owned(request, "webhook_endpoints", id)
    if view is None or not (view["deleted"] and is_retry(request)):
        view = await _find(request)
        event_id = derived_id(id, "webhook_endpoint.deleted")
        await publish(request, make(WebhookEndpointDeleted(), subject=id, tenant=tenant(request), id=event_id))
        await deps(request).secrets.drop(tenant(request), webhook_secret(id))
    return reply(openai.deleted(id, "webhook_endpoint.deleted"))


async def list_event_types(_: Request) -> Response:
    """GET /webhook_event_types: what endpoints can be told of."""
    return reply({"object": "list", "data": list(get_args(Told))})


async def list_notifications(request: Request) -> Answer[Page[Notification]]:
    """GET /notifications: who was told of the ends of jobs, by mail or call, newest first."""
    asked = PageQuery.read(request.query_params)
    return await list_page(request, "notifications", {}, asked, openai.notification)


async def retrieve_notification(request: Request) -> Answer[Notification]:
    """GET /notifications/{id}: also what it waits for."""
    id: str = request.path_params["id"]
    view = await owned(request, "notifications", id)
    if view is None:
        raise no_notification(id)
    delay = None if view["ended"] else unheld(await deps(request).controls.get(id))
    return reply(openai.notification(view, delay))


async def _find(request: Request, id: str | None = None) -> dict[str, Any]:
    name: str = id or request.path_params["id"]
    view = await owned(request, "webhook_endpoints", name)
    if view is None or view["deleted"]:
        raise no_endpoint(name)
    return view


async def _updated(request: Request, said: dict[str, Any]) -> dict[str, Any]:
    id, event_id = request.path_params["id"], deps(request).new_id()
    await publish(request, make(WebhookEndpointUpdated(**said), subject=id, tenant=tenant(request), id=event_id))
    return await _find(request)


def _said(view: dict[str, Any]) -> dict[str, Any]:
    return {name: view[name] for name in WebhookEndpointUpdated.model_fields}


async def _secret(request: Request, id: str) -> str | None:
    return await deps(request).secrets.get(tenant(request), webhook_secret(id))


async def _new_secret(request: Request, id: str) -> str:
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    await deps(request).secrets.put(tenant(request), webhook_secret(id), secret)
    return secret


ROUTES = [
    Route("/v1/webhook_endpoints", create, methods=["POST"]),
    Route("/v1/webhook_endpoints", list_endpoints, methods=["GET"]),
    Route("/v1/webhook_endpoints/{id}", retrieve, methods=["GET"]),
    Route("/v1/webhook_endpoints/{id}", update, methods=["POST"]),
    Route("/v1/webhook_endpoints/{id}", delete, methods=["DELETE"]),
    Route("/v1/webhook_endpoints/{id}/rotate_secret", rotate_secret, methods=["POST"]),
    Route("/v1/notifications", list_notifications, methods=["GET"]),
    Route("/v1/notifications/{id}", retrieve_notification, methods=["GET"]),
    Route("/v1/webhook_event_types", list_event_types, methods=["GET"]),
]
