"""Other addresses and other shapes of the one API: Azure's paths, Anyscale's objects."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from starlette.types import Message, Scope, Send

from contracts.wire.dialects import KNOWN, OF_ANYSCALE, OF_OPENAI, SHAPES, spoken
from contracts.wire.errors import ApiError, invalid_value

HEADER = "temper-dialect"
_DEPLOYED = re.compile(
    r"/deployments/(?P<model>.+?)(?P<rest>/(?:chat/completions|completions|embeddings|responses|audio/|images/).*)"
)
_SHAPED = re.compile(r"/v[12]/(files|fine_tuning/jobs)(/[^/]+(/(cancel|pause|resume|events|checkpoints))?)?")
"""Paths whose answers a dialect shows in its own way; never those that hand out bytes."""


def addressed(scope: Scope) -> Scope:
    """Return the request as it is on /v1, when it came to one of Azure's paths.

    `/openai/v1/…` is OpenAI's own API there; `/openai/…?api-version=` has Azure's shapes; below
    `/openai/deployments/{model}/` the path says the model, whatever the body says.
    """
    path: str = scope["path"]
    if not path.startswith("/openai/"):
        return scope
    rest, state = path.removeprefix("/openai"), scope.setdefault("state", {})
    if rest == "/v1" or rest.startswith("/v1/"):
        return {**scope, "path": rest}
    if rest == "/files/import":
        sentence = (
            "Files are not imported from an address here. Download it, then send its bytes to POST /openai/files."
        )
        raise ApiError(sentence, param="content_url", code="unsupported")
    state["dialect"] = "azure"
    if found := _DEPLOYED.fullmatch(rest):
        state["deployment"], rest = found["model"], found["rest"]
    return {**scope, "path": f"/v1{rest}"}


def chosen(scope: Scope, of_key: str) -> Scope:
    """Return the request in OpenAI's ids, its dialect noted: the path's, the header's, or else the key's; ApiError."""
    state = scope["state"]
    said = next((value for name, value in scope["headers"] if name == HEADER.encode()), b"").decode("latin-1").strip()
    if said and said not in KNOWN:
        raise invalid_value(HEADER, said, KNOWN)
    dialect = state.setdefault("dialect", said or of_key)
    if dialect != "anyscale":
        return scope
    path = scope["path"].replace(f"/{OF_ANYSCALE}", f"/{OF_OPENAI}")
    query = scope["query_string"].replace(OF_ANYSCALE.encode(), OF_OPENAI.encode())
    return {**scope, "path": path, "query_string": query}


def shaped(scope: Scope, send: Send) -> Send:
    """Return `send`, which hands on an answer in the request's dialect; whatever has another shape goes through."""
    dialect = scope["state"].get("dialect")
    if dialect not in SHAPES or not _SHAPED.fullmatch(scope["path"]):
        return send
    start: Message = {}
    body = bytearray()

    async def gathered(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        elif not _is_json(start):
            await _first(start, send)
            await send(message)
        else:
            body.extend(message.get("body", b""))
            if not message.get("more_body", False):
                await _told(start, bytes(body), dialect, send)

    return gathered


def _is_json(start: Message) -> bool:
    kept = [value for name, value in start.get("headers", ()) if name == b"content-type"]
    return start.get("status") == 200 and kept == [b"application/json"]


async def _first(start: Message, send: Send) -> None:
    """Send the head of an answer, once."""
    if start:
        await send(dict(start))
        start.clear()


async def _told(start: Message, body: bytes, dialect: str, send: Send) -> None:
    shown: Any = spoken(dialect, msgspec.json.decode(body)) if body else None
    body = msgspec.json.encode(shown) if body else body
    headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
    start["headers"] = [*headers, (b"content-length", str(len(body)).encode())]
    await _first(start, send)
    await send({"type": "http.response.body", "body": body})
