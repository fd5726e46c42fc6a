"""The one error mapper: whatever goes wrong is answered in OpenAI's shape."""

from __future__ import annotations

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

from contracts.ports import BlobNotFoundError, UnavailableError
from contracts.wire.errors import ApiError
from functions.edge.refusals import unavailable

BUG = ApiError("The server had an error while processing your request.", status=500)


def to_api_error(error: Exception) -> ApiError | None:
    """Return what a client is told of `error`; None for a bug."""
    match error:
        case ApiError():
            return error
        case UnavailableError():
            return unavailable(str(error))
        case BlobNotFoundError():
            return ApiError("The content is not stored any more.", status=404, code="content_not_found")
        case ClientDisconnect():
            return ApiError("The client went away before the request was complete.", code="client_disconnected")
        case HTTPException(status_code=405):
            sentence = "This method is not allowed on this path."
            return ApiError(sentence, status=405, code="method_not_allowed", headers=error.headers)
        case HTTPException():
            return ApiError(f"{error.detail}.", status=error.status_code, headers=error.headers)
    return None


def answer(error: ApiError) -> Response:
    """Return the response for an error."""
    return Response(msgspec.json.encode(error.body()), error.status, error.headers, "application/json")


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer OPTIONS; hand Starlette's refusals to the outermost layer, with the path that was meant or `Allow`."""
    path: str = request.scope["path"]
    status = error.status_code if isinstance(error, HTTPException) else 0
    if status == 404 or (status == 405 and path.endswith("/") and path != "/"):
        raise _no_path(request, path) from error
    if isinstance(error, HTTPException) and status == 405:
        methods = {method for route in _fitting(request, path) for method in route.methods or ()}
        error.headers = {"allow": ", ".join(sorted(methods | {"OPTIONS"}))}
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=error.headers)
    raise error


def _no_path(request: Request, path: str) -> ApiError:
    """Name the path that was meant: without a slash at its end or doubled ones, behind /v1."""
    plain = "/" + "/".join(part for part in path.split("/") if part)
    meant = next((each for each in (plain, f"/v1{plain}") if each != path and _fitting(request, each)), None)
    hint = f"Did you mean {meant[:200]}?" if meant else "The API's paths begin with /v1, as does a client's base URL."
    return ApiError(f"There is no path {path[:200]}. {hint}", status=404, code="unknown_url")


def _fitting(request: Request, path: str) -> list[Route]:
    scope = {**request.scope, "path": path}
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    return [route for route in routes if route.matches(scope)[0] is not Match.NONE]
