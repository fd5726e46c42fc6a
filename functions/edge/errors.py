"""The one error mapper: whatever goes wrong is answered in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

from contracts.ports import BlobNotFoundError, UnavailableError
from functions.edge.refusals import ApiError, unavailable

BUG = ApiError("The server had an error while processing your request.", status=500, type="server_error")


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
        case HTTPException(status_code=404):
            return ApiError("There is no such path. The API's paths begin with /v1.", status=404, code="unknown_url")
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
    """Hand Starlette's own refusals to the outermost layer, with every method that the path does allow."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        error.headers = _allowed(request)
    raise error


def _allowed(request: Request) -> Mapping[str, str]:
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    fitting = [route.methods or () for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return {"allow": ", ".join(sorted({method for methods in fitting for method in methods}))}
