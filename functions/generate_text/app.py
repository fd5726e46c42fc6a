"""The serving process over HTTP: chat and text completions in OpenAI's shapes, proofs, health."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contracts.manifest import ManifestRef
from contracts.ports import BlobNotFoundError, Blobs, UnavailableError
from functions.generate_text import answers
from functions.generate_text.core import RequestError, read_chat, read_completion, read_messages, read_tools
from functions.generate_text.engine import Engine, EngineError, Limits, OverloadedError
from functions.generate_text.models import ModelError, Models
from functions.generate_text.prove import prove

log = logging.getLogger(__name__)
MAX_BODY = 8 * 2**20
_HALF = re.compile(rb"\\u[dD]")


def create_app(
    blobs: Blobs,
    cache_dir: Path,
    device: str = "auto",
    *,
    threads: int = 0,
    limits: Limits | None = None,
    max_model_bytes: int = 16 * 2**30,
    max_adapters: int = 64,
) -> Starlette:
    """Build the serving app; its engine's thread runs until the app shuts down.

    `threads` 0 leaves torch's default; `max_model_bytes` bounds the weights in memory of models that nobody uses now.
    """
    engine = Engine(device, limits, threads)
    models = Models(engine, blobs, cache_dir, max_model_bytes, max_adapters)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(engine.close)

    async def chat(request: Request) -> Response:
        wanted = read_chat(await _json(request))
        return await answers.chat(engine, models, _manifest(request), wanted, request)

    async def completions(request: Request) -> Response:
        wanted = read_completion(await _json(request))
        return await answers.completions(engine, models, _manifest(request), wanted, request)

    async def proof(request: Request) -> Response:
        body = await _json(request)
        if not isinstance(body, dict):
            raise RequestError("The body must be a JSON object.")
        try:
            ref = ManifestRef.model_validate(body.get("manifest"))
        except ValueError as error:
            raise RequestError("'manifest' must be {key, sha256}.", param="manifest") from error
        expected = body.get("expected_ids")
        if not isinstance(expected, list) or not all(type(i) is int for i in expected):
            raise RequestError("'expected_ids' must be an array of token ids.", param="expected_ids")
        messages, tools = read_messages(body.get("messages")), read_tools(body.get("tools"))
        return JSONResponse(await prove(engine, models, ref, messages, tools, expected))

    async def health(_request: Request) -> Response:
        state = engine.state()
        status = "ok" if state["alive"] else "stopped"
        return JSONResponse({"status": status, **state, "models": models.names}, 200 if state["alive"] else 503)

    app = Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/completions", completions, methods=["POST"]),
            Route("/v1/prove", proof, methods=["POST"]),
            Route("/healthz", health, methods=["GET"]),
        ],
        exception_handlers=_ERRORS,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.engine, app.state.models = engine, models
    return app


async def _json(request: Request) -> Any:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise RequestError(f"The body is longer than {MAX_BODY} bytes.", status=413, code="request_too_large")
    try:
        value = json.loads(body, parse_constant=_refuse)
        if _HALF.search(body):  # only an escape can say half of a surrogate pair
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        problem = "objects and arrays are nested too deeply"
    except UnicodeEncodeError:
        problem = "a string holds half of a surrogate pair"
    except ValueError as error:  # UnicodeDecodeError is one too
        problem = str(error)
    else:
        return value
    raise RequestError(f"We could not parse the JSON body of your request: {problem}.", code="invalid_json")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _manifest(request: Request) -> ManifestRef:
    key, hash_sign, sha256 = request.headers.get("x-temper-manifest", "").rpartition("#")
    if not (key and hash_sign and len(sha256) == 64):
        raise RequestError(
            "The header x-temper-manifest must say which weights answer: <manifest blob key>#<its SHA-256>.",
            code="manifest_missing",
        )
    return ManifestRef(key=key, sha256=sha256)


def _error(error: RequestError, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(error.body(), error.status, headers)


async def _on_request_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _error(error)


async def _on_model_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ModelError)
    log.error("model refused: %s: %s", error.code, error)
    return _error(RequestError(str(error), code=error.code, status=500))


async def _on_missing_blob(_request: Request, _error_: Exception) -> Response:
    return _error(RequestError("The model's manifest is not stored any more.", code="model_not_found", status=404))


async def _on_unavailable(_request: Request, error: Exception) -> Response:
    code = "overloaded" if isinstance(error, OverloadedError) else "unavailable"
    return _error(RequestError(f"{error}.", code=code, status=503), {"retry-after": "5"})


async def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(RequestError(f"{error.detail}.", status=error.status_code), dict(error.headers or {}))


async def _on_engine(_request: Request, error: Exception) -> Response:
    return _error(RequestError(f"{error}.", code="generation_failed", status=500))


async def _on_gone(_request: Request, _error_: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


async def _on_bug(_request: Request, _error_: Exception) -> Response:
    return _error(RequestError("The server had an error while processing your request.", status=500))


_ERRORS: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    RequestError: _on_request_error,
    ModelError: _on_model_error,
    BlobNotFoundError: _on_missing_blob,
    UnavailableError: _on_unavailable,
    OverloadedError: _on_unavailable,
    EngineError: _on_engine,
    ClientDisconnect: _on_gone,
    HTTPException: _on_http,
    Exception: _on_bug,
}
