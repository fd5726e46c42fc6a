"""/v1/models: list, retrieve, delete."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.documents.models import PUBLIC, model_id
from contracts.envelope import derived_id, make
from contracts.events.models import ModelDeleted
from contracts.wire import openai
from contracts.wire.errors import ApiError
from functions._shared.visible import permitted
from functions.edge import listing
from functions.edge.context import deps, in_windows, is_retry, owned, publish, reply, tenant, visible_model
from functions.edge.refusals import no_model


async def list_models(request: Request) -> Response:
    """GET /models: the tenant's, the public and the permitted ones, all on one page, oldest first."""
    where = {"tenant": {"$in": [tenant(request), PUBLIC]}, "deleted": False}
    windows = in_windows(deps(request).documents, "models", where, [("created_at", 1), ("id", 1)])
    views = [view async for window in windows for view in window]
    views += await permitted(deps(request).documents, tenant(request))
    return reply({"object": "list", "data": [openai.model(view) for view in listing.in_order(views)]})


async def retrieve_model(request: Request) -> Response:
    """GET /models/{model}."""
    name = _name(request)
    view = await visible_model(request, name)
    if view is None:
        raise no_model(name)
    return reply(openai.model(view))


async def delete_model(request: Request) -> Response:
    """DELETE /models/{model}: a tuned model of the tenant's own."""
    name = _name(request)
    view = await owned(request, "models", model_id(tenant(request), name))
    if view is not None and view["deleted"] and is_retry(request):
        return reply(openai.deleted(name, "model"))
    if view is None or view["deleted"]:
        if await visible_model(request, name) is None:
            raise no_model(name)
        raise ApiError(
            f"The model `{name}` is the operator's; only tuned models of your own can be deleted.",
            status=403,
            param="model",
            code="model_not_deletable",
        )
    event = make(
        ModelDeleted(reason="requested"),
        subject=name,
        tenant=tenant(request),
        id=derived_id(tenant(request), name, "model.deleted"),
    )
    await publish(request, event)
    return reply(openai.deleted(name, "model"))


def _name(request: Request) -> str:
    name: str = request.path_params["model"]
    if not name:
        raise HTTPException(404)
    return name


ROUTES = [
    Route("/v1/models", list_models, methods=["GET"]),
    Route("/v1/models/{model:path}", retrieve_model, methods=["GET"]),
    Route("/v1/models/{model:path}", delete_model, methods=["DELETE"]),
]
