"""/v1/chat/completions, /v1/completions and /v1/embeddings: names are resolved here, bytes pass through unparsed."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Send

from contracts.manifest import ManifestRef
from contracts.wire.asked import CHAT
from contracts.wire.body import check_strings
from contracts.wire.completions import Chat, Completion, KeptChat, Routed, RoutedChat
from contracts.wire.embeddings import MAX_BYTES, Embeddings
from functions.edge.context import deps, read_completion, request_id, tenant, visible_model
from functions.edge.refusals import no_model
from functions.edge.relay import Ask, Watched, begin, is_stream, piece, told
from functions.edge.routes.stored_chats import keep_chat


async def create_chat(request: Request) -> Response:
    """POST /chat/completions; with `store` it is kept."""
    body, given, asked = await read_completion(request, Chat, RoutedChat)
    ask = await _asking(request, CHAT, body, asked.model)
    if not asked.store:
        return Relay(ask)
    metadata = KeptChat.read({"metadata": asked.metadata}).metadata
    check_strings(given)
    return Watched(partial(keep_chat, request, given, metadata, ask))


async def create_completion(request: Request) -> Response:
    """POST /completions."""
    body, _, asked = await read_completion(request, Completion, Routed)
    return Relay(await _asking(request, "/v1/completions", body, asked.model))


async def create_embeddings(request: Request) -> Response:
    """POST /embeddings."""
    body, _, asked = await read_completion(request, Embeddings, Routed, MAX_BYTES)
    return Relay(await _asking(request, "/v1/embeddings", body, asked.model))


async def _asking(request: Request, path: str, body: bytes, name: str) -> Ask:
    view = await visible_model(request, name)
    if view is None:
        raise no_model(name)
    manifest = ManifestRef.model_validate(view["manifest"])
    return partial(deps(request).complete, path, body, manifest, request_id(request), tenant(request))


class Relay(Watched):
    """An answer of the serving process, passed on as it comes."""

    def __init__(self, ask: Ask) -> None:
        super().__init__(self._pass_on)
        self._ask = ask

    async def _pass_on(self, send: Send) -> None:
        reply = await self._ask()
        try:
            await begin(send, reply)
            async for chunk in told(reply.chunks()) if is_stream(reply) else reply.chunks():
                await piece(send, chunk)
            await piece(send, b"", last=True)
        finally:
            await reply.close()


ROUTES = [
    Route("/v1/chat/completions", create_chat, methods=["POST"]),
    Route("/v1/completions", create_completion, methods=["POST"]),
    Route("/v1/embeddings", create_embeddings, methods=["POST"]),
]
