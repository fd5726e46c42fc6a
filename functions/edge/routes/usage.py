"""/v1/usage/storage: what is stored for the tenant."""

from __future__ import annotations

from starlette.requests import Request
from starlette.routing import Route

from contracts.wire import openai
from contracts.wire.answers import StorageUsage
from functions._shared.storage import stored
from functions.edge.context import Answer, deps, reply, tenant


async def storage(request: Request) -> Answer[StorageUsage]:
    """GET /usage/storage: bytes and objects of each kind, as they are at the moment."""
    found = await stored(deps(request).blobs, deps(request).documents, tenant(request))
    return reply(openai.storage(found))


ROUTES = [Route("/v1/usage/storage", storage, methods=["GET"])]
