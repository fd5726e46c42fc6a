"""What every route uses: the ports, the caller, reading bodies, publishing, answering."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import msgspec
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from contracts.canonical import compact, sha256
from contracts.controls import Control
from contracts.envelope import Event
from contracts.events import corpus
from contracts.ports import (
    BlobNotFoundError,
    Blobs,
    Complete,
    Controls,
    Documents,
    Emit,
    Requests,
    Reservation,
    Secrets,
)
from contracts.wire import openai
from contracts.wire import request as wire
from contracts.wire.answers import Page
from contracts.wire.asked import Passed, passed_on
from contracts.wire.body import check_strings, parse
from contracts.wire.errors import ApiError
from contracts.wire.permissions import PermissionPage
from contracts.wire.requests import DatasetRequest, PageQuery
from functions._shared import visible as models
from functions._shared.grading.code import Coders
from functions.edge.listing import Order, beyond, unknown_after
from functions.edge.refusals import key_reused, too_large

Asked = TypeVar("Asked", bound=wire.Request)
Shown = TypeVar("Shown", bound=Mapping[str, Any])
MAX_JSON = 2**20
_DRAINED = 8 * 2**20
"""Bytes of an oversized body that are read and dropped, so that the client gets to see the answer."""
_EMBEDDINGS = "GET /v1/models says `embedding` of those that make them."
_WINDOW = 500
"""Documents that are fetched and shown at once: some 10 ms."""

Probe = Callable[[], Awaitable[str]]
"""Asks one dependency; returns a sentence on how it is, raises with a sentence when it is not well."""


@dataclass(frozen=True, slots=True)
class EdgeDeps:
    """What the edge needs from the world."""

    blobs: Blobs
    emit: Emit
    documents: Documents
    controls: Controls
    requests: Requests
    secrets: Secrets
    complete: Complete
    new_id: Callable[[], str]
    """Returns a new UUIDv7 as text."""
    wandb: Literal["online", "offline"] | None = None
    """Whether Weights & Biases is told of jobs over the network; None: its client is not installed."""
    stored_days: int = 30
    """For how many days completions are kept that are to be stored."""
    probes: Mapping[str, Probe] = field(default_factory=dict)
    """What the edge itself needs (kafka, mongo, minio, read_models) → its probe, for `GET /readyz`."""
    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    """Returns the time in milliseconds."""
    upload_seconds: int = 3600
    """After its creation at which an upload by parts expires."""
    coders: Coders | None = None
    """Run the code of graders; None: nobody does."""
    streams: Counter[str] = field(default_factory=Counter)
    """Streams of responses in the background that each tenant has open at this edge."""
    others: Mapping[str, Probe] = field(default_factory=dict)
    """The rest of Temper (serving, worker, trainer, groups, mlflow) → its probe, for `GET /status`."""


def deps(request: Request) -> EdgeDeps:
    """Return the ports of the app that serves `request`."""
    found: EdgeDeps = request.app.state.deps
    return found


def tenant(request: Request) -> str:
    """Return the tenant whose key came with the request."""
    found: str = request.scope["state"]["tenant"]
    return found


def key_id(request: Request) -> str:
    """Return the id of the key that came with the request."""
    found: str = request.scope["state"]["key_id"]
    return found


def request_id(request: Request) -> str:
    """Return the request's id, as the client sees it."""
    found: str = request.scope["state"]["request_id"]
    return found


def new_object_id(request: Request, prefix: str) -> str:
    """Return a new id such as `file-<32 hex>`."""
    return prefix + deps(request).new_id().replace("-", "")


class Answer(Response, Generic[Shown]):
    """A JSON answer of this shape, as the API's description says it."""


def reply(data: Shown, background: BackgroundTask | None = None) -> Answer[Shown]:
    """Return a JSON answer."""
    return Answer(msgspec.json.encode(data), media_type="application/json", background=background)


async def streamed(request: Request, key: str, media_type: str, headers: Mapping[str, str]) -> Response:
    """Return a blob's bytes as they come, none for HEAD; raises BlobNotFoundError."""
    blobs = deps(request).blobs
    stat = await blobs.stat(key)
    if stat is None:
        raise BlobNotFoundError(key)
    headers = {**headers, "content-length": str(stat.bytes)}
    if request.method == "HEAD":
        return Response(headers=headers, media_type=media_type)
    return StreamingResponse(blobs.stream(key), headers=headers, media_type=media_type)


async def incoming(request: Request) -> AsyncIterator[bytes]:
    """Yield the body's chunks; raises ClientDisconnect, also when the server gave a slow body up."""
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        more = message.get("more_body", False)
        if chunk := message.get("body", b""):
            yield chunk


async def read_body(request: Request, most: int = MAX_JSON) -> bytes:
    """Return a JSON body's bytes; raises ApiError (413) beyond `most`."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in incoming(request):
        size += len(chunk)
        if size <= most:
            chunks.append(chunk)
        elif size > _DRAINED:
            break
    if size > most:
        raise too_large("The JSON body", most)
    deployment = request.scope["state"].get("deployment")
    return b"".join(chunks) if deployment is None else _deployed(b"".join(chunks), deployment)


def _deployed(body: bytes, model: str) -> bytes:
    """Return a body that asks the model of one of Azure's paths; its names stay in their order."""
    return json.dumps({**parse(body), "model": model}, separators=(",", ":")).encode()


async def read(request: Request, asked: type[Asked], optional: bool = False) -> Asked:
    """Return what the JSON object in the body asks for; where it is optional, no body is an empty object."""
    body = await read_body(request)
    given = {} if optional and not body else parse(body)
    check_strings(given)
    return asked.read(given)


async def read_completion(
    request: Request, known: type[wire.Request], routed: type[Passed], most: int = MAX_JSON
) -> tuple[bytes, dict[str, Any], Passed]:
    """Return a body that is passed on as it is, whose names are all known: bytes, object, what the edge needs of it."""
    body = await read_body(request, most)
    given, asked = passed_on(body, known, routed)
    return body, given, asked


def is_retry(request: Request) -> bool:
    """Return whether the official client marked the request as a retry."""
    count = request.headers.get("x-stainless-retry-count", "0")
    return count.isascii() and count.isdigit() and int(count[:9]) > 0


async def reserve(request: Request, route: str, same: Mapping[str, Any], new_id: str) -> Reservation:
    """Set an object id aside before anything is published; `same` is what makes two requests the same one."""
    key = request.headers.get("idempotency-key") or None
    if key is not None and len(key) > 255:
        raise ApiError(
            "The Idempotency-Key is longer than 255 characters.", param="Idempotency-Key", code="invalid_value"
        )
    digest = sha256(compact(same))
    reserved = await deps(request).requests.reserve(tenant(request), route, key, digest, is_retry(request), new_id)
    if reserved.state == "mismatch":
        raise key_reused()
    return reserved


async def reply_reserved(request: Request, reserved: Reservation | Sequence[Reservation], data: Shown) -> Answer[Shown]:
    """Answer a POST that reserved ids; its reply is complete only if the client is still there to get it."""
    if await request.is_disconnected():
        return reply(data)
    told = [reserved] if isinstance(reserved, Reservation) else reserved
    complete = deps(request).requests.complete
    return reply(data, BackgroundTasks([BackgroundTask(complete, each) for each in told]))


async def publish(request: Request, event: Event) -> None:
    """Publish an event and fold it, so that the caller's next read shows it."""
    ports = deps(request)
    await ports.documents.apply(await ports.emit(event))


async def owned(request: Request, model: str, id: str) -> dict[str, Any] | None:
    """Return a view of the caller's tenant, deleted or not; anything else is as good as absent."""
    view = await deps(request).documents.get(model, id)
    return view if view is not None and view["tenant"] == tenant(request) else None


async def visible_model(request: Request, name: str) -> dict[str, Any] | None:
    """Return the model that the caller's tenant calls by that name."""
    return await models.visible_model(deps(request).documents, tenant(request), name)


async def own_model(request: Request, name: str) -> dict[str, Any] | None:
    """Return the tenant's own model of that name or the public one: of others' it may only ask."""
    return await models.own_model(deps(request).documents, tenant(request), name)


async def check_dataset(request: Request, asked: DatasetRequest | None) -> None:
    """Refuse a data set of models that are not there: its documents would wait for ever, or fail hours later."""
    if asked is not None:
        await _check_target(request, asked.target_model)
        await _check_embedding(request, asked.embedding_model)


async def _check_embedding(request: Request, name: str | None) -> None:
    if name is None or name == corpus.NO_EMBEDDING:
        return
    view, param = await visible_model(request, name), "dataset.embedding_model"
    if view is None:
        sentence = f"The model '{name[:100]}' does not exist or you do not have access to it."
        raise ApiError(f"{sentence} {_EMBEDDINGS}", param=param, code="model_not_found")
    if view["kind"] != "embedding":
        sentence = f"The model '{name[:100]}' writes text and makes no embeddings."
        raise ApiError(f"{sentence} {_EMBEDDINGS}", param=param, code="unsupported_model")


async def _check_target(request: Request, name: str | None) -> None:
    view = None if name is None else await own_model(request, name)
    if name is not None and (view is None or view["kind"] != "base"):
        sentence = f"The base model '{name[:100]}' does not exist. GET /v1/models lists those that do."
        raise ApiError(sentence, param="dataset.target_model", code="model_not_found")


async def end(request: Request, stage: str, event: Event, *before: Event) -> None:
    """Record `event` as the end of its subject, unless somebody ended it first, and publish whichever end it has.

    What is said `before` it, perhaps of another subject, is part of that end.
    """
    controls = deps(request).controls
    await controls.open(event.subject, event.tenant, stage, {}, ready=False)
    await say(request, await controls.end(event.subject, [*before, event]))


async def say(request: Request, control: Control) -> None:
    """Publish what a control document records and nobody has published yet."""
    for recorded in control.events[control.published :]:
        await publish(request, recorded)
    await deps(request).controls.published(control.subject, len(control.events))


async def in_windows(
    documents: Documents, model: str, where: Mapping[str, Any], order: Order, most: int | None = None
) -> AsyncIterator[list[dict[str, Any]]]:
    """Yield documents in order, so few at a time that other requests are served between."""
    filters = [where]
    while most is None or most > 0:
        limit = _WINDOW if most is None else min(most, _WINDOW)
        found = await documents.find(model, {"$and": filters}, order, limit)
        yield found
        if len(found) < limit:
            return
        most = None if most is None else most - limit
        filters = [where, beyond(found[-1], order)]


Paged = PageQuery | PermissionPage


Completed = Callable[[Request, dict[str, Any]], Awaitable[dict[str, Any]]]


async def as_it_is(_request: Request, view: dict[str, Any]) -> dict[str, Any]:
    """Nothing has to be looked up to show the document."""
    return view


async def list_page(
    request: Request,
    model: str,
    where: Mapping[str, Any],
    asked: Paged,
    show: Callable[[Mapping[str, Any]], Shown],
    complete: Completed = as_it_is,
) -> Answer[Page[Shown]]:
    """Answer with one page of the tenant's documents by (created_at, id), each as `show` makes it.

    `complete` adds what `show` wants and another document holds.
    """
    filters: list[Mapping[str, Any]] = [{"tenant": tenant(request)}, where]
    if asked.after is not None:
        last = await owned(request, model, asked.after)
        if last is None:
            raise unknown_after(asked.after)
        filters.append(beyond(last, asked.sort))
    windows = in_windows(deps(request).documents, model, {"$and": filters}, asked.sort, asked.limit + 1)
    shown = [show(await complete(request, view)) async for window in windows for view in window]
    return reply(openai.page(shown[: asked.limit], len(shown) > asked.limit))
