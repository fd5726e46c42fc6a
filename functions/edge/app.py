"""The edge: OpenAI's API in front of the log and the read models."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions.edge import dialects
from functions.edge.auth import authenticate
from functions.edge.context import EdgeDeps
from functions.edge.errors import BUG, answer, on_http_error, to_api_error
from functions.edge.routes import (
    batches,
    benchmarks,
    completions,
    dataset,
    evals,
    files,
    graders,
    health,
    jobs,
    legacy,
    model_files,
    models,
    permissions,
    preview,
    responses,
    stored_chats,
    uploads,
    usage,
    webhooks,
)

log = logging.getLogger(__name__)

_API = [
    *files.ROUTES,
    *uploads.ROUTES,
    *batches.ROUTES,
    *evals.ROUTES,
    *dataset.ROUTES,
    *preview.ROUTES,
    *jobs.ROUTES,
    *graders.ROUTES,
    *permissions.ROUTES,
    *benchmarks.ROUTES,
    *model_files.ROUTES,
    *models.ROUTES,
    *usage.ROUTES,
    *webhooks.ROUTES,
    *completions.ROUTES,
    *stored_chats.ROUTES,
    *responses.ROUTES,
    *legacy.ROUTES,
]


def _on_v2(route: Route) -> Route:
    return Route("/v2" + route.path.removeprefix("/v1"), route.endpoint, methods=sorted(route.methods or ()))


ROUTES: list[BaseRoute] = [
    *health.ROUTES,
    *_API,
    *(_on_v2(route) for route in _API),
    *legacy.ROOT,
]
"""Every path of the API is there twice: on /v1, and on /v2 for clients of LLMHub's second version."""


EXPOSED = (
    "content-disposition",
    "openai-organization",
    "openai-processing-ms",
    "openai-version",
    "retry-after",
    "www-authenticate",
    "x-request-id",
)
"""Headers of answers that a page of another origin may read, besides those that browsers always show."""


def create_app(deps: EdgeDeps, origins: Sequence[str] = ()) -> Starlette:
    """Return the edge as an ASGI app; it holds no state of its own, so any number may run side by side.

    `origins`: the other sites whose pages may call it from a browser, or `*`.
    """
    browsers = Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "HEAD", "POST", "DELETE"],
        allow_headers=["*"],
        expose_headers=EXPOSED,
        max_age=7200,
    )
    app = Starlette(
        routes=ROUTES,
        middleware=[*([browsers] if origins else ()), Middleware(Envelope, deps=deps)],
        exception_handlers={HTTPException: on_http_error},
    )
    app.router.redirect_slashes = False  # clients do not follow a 307 of a POST, and it says nothing
    app.state.deps = deps
    app.state.readiness, app.state.others = health.Checks(deps.probes), health.Checks(deps.others)
    return app


class Envelope:
    """Around every request: its id, its time, whose it is, and an answer in OpenAI's shape whatever happens."""

    def __init__(self, app: ASGIApp, deps: EdgeDeps) -> None:
        self.app = app
        self.deps = deps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        request_id = "req_" + self.deps.new_id().replace("-", "")
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        started = False

        async def stamped(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                took = int((time.perf_counter() - begun) * 1000)
                headers = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    (b"openai-processing-ms", str(took).encode()),
                    (b"openai-version", b"2020-10-01"),
                ]
                if "tenant" in state:
                    headers.append((b"openai-organization", state["tenant"].encode()))
                message = {**message, "headers": headers}
            elif scope["method"] == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            scope = dialects.addressed(scope)
            if scope["path"].startswith(("/v1/", "/v2/")) and scope["method"] != "OPTIONS":
                key = await authenticate(scope["headers"], self.deps.documents)
                state["tenant"], state["key_id"] = key["tenant"], key["id"]
                scope = dialects.chosen(scope, key["dialect"])
            await self.app(scope, receive, dialects.shaped(scope, stamped))
        except Exception as error:
            told = to_api_error(error)
            if told is None:
                log.exception("%s %s failed (%s)", scope["method"], scope["path"], request_id)
            if started:
                raise
            await answer(told or BUG)(scope, receive, stamped)
