"""/v1/fine_tuning/checkpoints/{checkpoint}/permissions: other tenants that may call a tuned model by its name."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.documents.models import PUBLIC, model_id
from contracts.documents.permissions import permission_id
from contracts.envelope import derived_id, make
from contracts.events.permissions import PermissionGranted, PermissionRevoked
from contracts.wire import openai
from contracts.wire.errors import ApiError
from contracts.wire.permissions import MOST_PROJECTS, PermissionPage, PermissionRequest, permission
from functions.edge.context import deps, is_retry, list_page, owned, publish, read, reply, tenant
from functions.edge.refusals import no_model


async def grant(request: Request) -> Response:
    """POST /fine_tuning/checkpoints/{checkpoint}/permissions {project_ids}: tenants that may call it."""
    asked = await read(request, PermissionRequest)
    name = await _own_model(request)
    mine, documents = tenant(request), deps(request).documents
    if {mine, PUBLIC} & set(asked.project_ids):
        sentence = f"Invalid 'project_ids': '{mine}' has the model, and '{PUBLIC}' is no project."
        raise ApiError(sentence, param="project_ids", code="invalid_value")
    living = {"tenant": mine, "model": name, "deleted": False}
    if await documents.count("permissions", living) + len(asked.project_ids) > MOST_PROJECTS:
        sentence = f"At most {MOST_PROJECTS} projects may call one model. Revoke some."
        raise ApiError(sentence, param="project_ids", code="too_many_permissions")
    data = [await _granted(request, name, project) for project in dict.fromkeys(asked.project_ids)]
    return reply(openai.page(data, False))


async def _granted(request: Request, name: str, project: str) -> dict[str, Any]:
    mine, documents = tenant(request), deps(request).documents
    of_project = {"tenant": mine, "model": name, "project": project}
    found = await documents.find("permissions", {**of_project, "deleted": False}, [("created_at", 1)], 1)
    if found:
        return permission(found[0])
    id = permission_id(mine, name, project, await documents.count("permissions", {**of_project, "deleted": True}))
    data = PermissionGranted(model=name, project=project)
    await publish(request, make(data, subject=id, tenant=mine, id=derived_id(id, "permission.granted")))
    view = await owned(request, "permissions", id)
    assert view is not None
    return permission(view)


async def list_permissions(request: Request) -> Response:
    """GET /fine_tuning/checkpoints/{checkpoint}/permissions?project_id&after&limit&order: newest first."""
    asked = PermissionPage.read(request.query_params)
    where = {"model": await _own_model(request), "deleted": False}
    if asked.project_id is not None:
        where["project"] = asked.project_id
    return await list_page(request, "permissions", where, asked, permission)


async def revoke(request: Request) -> Response:
    """DELETE /fine_tuning/checkpoints/{checkpoint}/permissions/{id}: from the next request on."""
    name, id = await _own_model(request), request.path_params["id"]
    view = await owned(request, "permissions", id)
    if view is None or view["model"] != name or (view["deleted"] and not is_retry(request)):
        sentence = f"No such permission of this checkpoint: {id[:128]}"
        raise ApiError(sentence, status=404, param="permission_id")
    if not view["deleted"]:
        event_id = derived_id(id, "permission.revoked")
        await publish(request, make(PermissionRevoked(), subject=id, tenant=tenant(request), id=event_id))
    return reply(openai.deleted(id, "checkpoint.permission"))


async def _own_model(request: Request) -> str:
    """Return the name of a tuned model of the caller's own; raises ApiError."""
    name: str = request.path_params["checkpoint"]
    view = await owned(request, "models", model_id(tenant(request), name))
    if view is None or view["deleted"]:
        raise no_model(name[:512])
    return name


ROUTES = [
    Route("/v1/fine_tuning/checkpoints/{checkpoint:path}/permissions", grant, methods=["POST"]),
    Route("/v1/fine_tuning/checkpoints/{checkpoint:path}/permissions", list_permissions, methods=["GET"]),
    Route("/v1/fine_tuning/checkpoints/{checkpoint:path}/permissions/{id}", revoke, methods=["DELETE"]),
]
