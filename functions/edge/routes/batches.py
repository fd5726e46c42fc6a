"""/v1/batches: requests of a file, answered when there is room."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.controls import unheld
from contracts.envelope import derived_id, make
from contracts.events.batches import BatchCancelRequested
from contracts.wire import batches as wire
from contracts.wire.batches import PURPOSE, BatchRequest
from contracts.wire.errors import ApiError
from contracts.wire.requests import PageQuery
from functions.edge.context import (
    deps,
    list_page,
    new_object_id,
    owned,
    publish,
    read,
    reply,
    reply_reserved,
    reserve,
    tenant,
)
from functions.edge.refusals import no_batch, no_file

MOST_OPEN = 100
"""Batches of a tenant that are not over."""


async def create_batch(request: Request) -> Response:
    """POST /batches: the file may still be being checked; what is wrong with it then fails the batch."""
    asked = await read(request, BatchRequest)
    await _check_file(request, asked.input_file_id)
    if await deps(request).documents.count("batches", {"tenant": tenant(request), "over": False}) >= MOST_OPEN:
        sentence = f"You have {MOST_OPEN} batches that are not over. Wait for one, or cancel it."
        raise ApiError(sentence, code="too_many_batches")
    data = asked.event()
    reservation = await reserve(request, "batches", data.model_dump(mode="json"), new_object_id(request, "batch_"))
    id = reservation.id
    if await owned(request, "batches", id) is None:
        await publish(request, make(data, subject=id, tenant=tenant(request), id=derived_id(id, "batch.created")))
    return await reply_reserved(request, reservation, wire.batch(await _batch(request, id)))


async def _check_file(request: Request, id: str) -> None:
    view = await owned(request, "files", id)
    if view is None or view["deleted"]:
        raise ApiError(no_file(id[:128]).message, param="input_file_id", code="file_not_found")
    if view["purpose"] != PURPOSE:
        sentence = f"The file {id} has purpose '{view['purpose']}'; a batch needs one with purpose '{PURPOSE}'."
        raise ApiError(sentence, param="input_file_id", code="invalid_file_purpose")


async def list_batches(request: Request) -> Response:
    """GET /batches."""
    return await list_page(request, "batches", {}, PageQuery.read(request.query_params), wire.batch)


async def retrieve_batch(request: Request) -> Response:
    """GET /batches/{id}; under `delay` it says what keeps one that is not over."""
    view = await _batch(request, request.path_params["id"])
    delay = None if view["over"] else unheld(await deps(request).controls.get(view["id"]))
    return reply({**wire.batch(view), "delay": delay})


async def cancel_batch(request: Request) -> Response:
    """POST /batches/{id}/cancel: what is being asked is finished; all that was answered is kept."""
    view = await _batch(request, request.path_params["id"])
    if view["status"] not in ("cancelling", "cancelled"):
        if view["over"]:
            sentence = f"The batch {view['id']} has already ended: its status is {view['status']}."
            raise ApiError(sentence, param="batch_id", code="batch_already_ended")
        id = derived_id(view["id"], "batch.cancel_requested")
        event = make(BatchCancelRequested(), subject=view["id"], tenant=tenant(request), id=id)
        await publish(request, event)
        view = await _batch(request, view["id"])
    return reply(wire.batch(view))


async def _batch(request: Request, id: str) -> dict[str, Any]:
    view = await owned(request, "batches", id)
    if view is None:
        raise no_batch(id)
    return view


ROUTES = [
    Route("/v1/batches", create_batch, methods=["POST"]),
    Route("/v1/batches", list_batches, methods=["GET"]),
    Route("/v1/batches/{id}", retrieve_batch, methods=["GET"]),
    Route("/v1/batches/{id}/cancel", cancel_batch, methods=["POST"]),
]
