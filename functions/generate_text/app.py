"""The serving process over HTTP: chat and text completions and embeddings in OpenAI's shapes, proofs, health."""

import asyncio
import json
import logging
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
from contracts.wire.body import escapes, parse
from contracts.wire.completions import Chat, Completion, ProofRequest
from contracts.wire.dataset_answers import RowPreview
from contracts.wire.embeddings import Embeddings
from contracts.wire.errors import ApiError
from functions.generate_text import answers
from functions.generate_text.embedder import Embedder
from functions.generate_text.embeddings import EmbeddingModels, embeddings
from functions.generate_text.engine import BatchLimits, Engine, EngineError, OverloadedError
from functions.generate_text.generation import ConstraintError
from functions.generate_text.models import ModelError, Models
from functions.generate_text.preview import Examples, Previews
from functions.generate_text.prove import prove

log = logging.getLogger(__name__)
MAX_BODY = 8 * 2**20


def create_app(
    blobs: Blobs,
    cache_dir: Path,
    device: str = "auto",
    *,
    dtype: str = "auto",
    threads: int = 0,
    limits: BatchLimits | None = None,
    max_model_bytes: int = 16 * 2**30,
    max_adapters: int = 64,
    max_embedding_bytes: int = 4 * 2**30,
    examples: Examples | None = None,
) -> Starlette:
    """Build the serving app; its engine's thread runs until the app shuts down.

    `dtype`: see `Engine`; `threads` 0 leaves torch's default; `max_model_bytes` bounds the weights in memory of models
    that nobody uses now, `max_embedding_bytes` those of embeddings; `examples` makes of a row what is trained of it,
    and without it there are no previews.
    """
    engine = Engine(device, limits, threads, dtype)
    models = Models(engine, blobs, cache_dir, max_model_bytes, max_adapters)
    embedder = Embedder(threads)
    embedding_models = EmbeddingModels(blobs, cache_dir, engine.device, dtype, max_embedding_bytes)
    previews = Previews(blobs, cache_dir, examples) if examples else None

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(embedder.close)
        await asyncio.to_thread(engine.close)

    async def chat(request: Request) -> Response:
        wanted = Chat.read(await _json(request))
        return await answers.chat(engine, models, _manifest(request), wanted, request)

    async def completions(request: Request) -> Response:
        wanted = Completion.read(await _json(request))
        return await answers.completions(engine, models, _manifest(request), wanted, request)

    async def embed(request: Request) -> Response:
        wanted = Embeddings.read(await _json(request))
        return await embeddings(embedder, embedding_models, _manifest(request), wanted, request)

    async def proof(request: Request) -> Response:
        return JSONResponse(await prove(engine, models, ProofRequest.read(await _json(request))))

    routes = [
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/completions", completions, methods=["POST"]),
        Route("/v1/embeddings", embed, methods=["POST"]),
        Route("/v1/prove", proof, methods=["POST"]),
        Route("/healthz", _health(engine, models), methods=["GET"]),
        *([Route("/v1/preview", _preview(previews), methods=["POST"])] if previews else []),
    ]
    app = Starlette(routes=routes, exception_handlers=_ERRORS, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.state.engine, app.state.models, app.state.embedder = engine, models, embedder
    return app


Answering = Callable[[Request], Awaitable[Response]]


def _preview(previews: Previews) -> Answering:
    async def preview(request: Request) -> Response:
        found = await previews.of(_manifest(request), await _json(request))
        asked = request.query_params
        shown: RowPreview = {
            "object": "row.preview",
            "row": int(asked["row"]),
            "model": asked["model"],
            "refused": found["refused"],
            "examples": found["examples"],
        }
        return JSONResponse(shown)

    return preview


def _health(engine: Engine, models: Models) -> Answering:
    async def health(_request: Request) -> Response:
        state = engine.state()
        status, code = ("ok", 200) if state["alive"] else ("stopped", 503)
        return JSONResponse({"status": status, **state, "models": models.names}, code)

    return health


async def _json(request: Request) -> dict[str, Any]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise ApiError(f"The body is longer than {MAX_BODY} bytes.", status=413, code="request_too_large")
    # What a row may hold, its proof may: only the parts that templates see are bounded, each by itself.
    value = parse(bytes(body), deepest=False)
    try:
        if escapes(body):
            json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        problem = "a string holds half of a surrogate pair"
        raise ApiError(f"We could not parse the JSON body of your request: {problem}.", code="invalid_json") from None
    return value


def _manifest(request: Request) -> ManifestRef:
    key, hash_sign, sha256 = request.headers.get("x-temper-manifest", "").rpartition("#")
    if not (key and hash_sign and len(sha256) == 64):
        raise ApiError(
            "The header x-temper-manifest must say which weights answer: <manifest blob key>#<its SHA-256>.",
            code="manifest_missing",
        )
    return ManifestRef(key=key, sha256=sha256)


def _told(error: Exception) -> ApiError:
    """Return what a client is told of an error."""
    match error:
        case ApiError():
            return error
        case ModelError():
            log.error("model refused: %s: %s", error.code, error)
            return ApiError(str(error), code=error.code, status=500)
        case BlobNotFoundError():
            return ApiError("The model's manifest is not stored any more.", code="model_not_found", status=404)
        case UnavailableError() | OverloadedError():
            code = "overloaded" if isinstance(error, OverloadedError) else "unavailable"
            return ApiError(f"{error}.", code=code, status=503, headers={"retry-after": "5"})
        case ConstraintError():
            return ApiError(f"{error}.", code="not_enforceable")
        case EngineError():
            return ApiError(f"{error}.", code="generation_failed", status=500)
        case HTTPException():
            return ApiError(f"{error.detail}.", status=error.status_code, headers=error.headers)
    return ApiError("The server had an error while processing your request.", status=500)


async def _on_error(_request: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)  # nobody reads it
    told = _told(error)
    return JSONResponse(told.body(), told.status, told.headers)


_NAMED = (ApiError, ModelError, BlobNotFoundError, UnavailableError, EngineError, ClientDisconnect, HTTPException)
_ERRORS: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = dict.fromkeys((*_NAMED, Exception), _on_error)
"""What only `Exception` catches is raised again and logged."""
