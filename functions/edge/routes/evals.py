"""/v1/evals: criteria by which answers are graded, runs of them, and their graded rows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.controls import unheld
from contracts.envelope import derived_id, make
from contracts.events import Payload
from contracts.events.evals import (
    EvalCreated,
    EvalDeleted,
    EvalRunCancelRequested,
    EvalRunCreated,
    EvalRunDeleted,
    EvalUpdated,
)
from contracts.ports import BlobNotFoundError
from contracts.wire import evals as wire
from contracts.wire import openai
from contracts.wire.errors import ApiError
from contracts.wire.evals import (
    PURPOSE,
    EvalPage,
    EvalRequest,
    EvalUpdateRequest,
    ItemPage,
    JsonlSource,
    RunPage,
    RunRequest,
)
from contracts.wire.requests import PageQuery
from functions._shared.grading.code import BusyError
from functions._shared.grading.item_schema import TooCostlyError
from functions.edge.context import (
    deps,
    in_windows,
    is_retry,
    new_object_id,
    owned,
    publish,
    read,
    reply,
    reply_reserved,
    reserve,
    tenant,
    visible_model,
)
from functions.edge.listing import beyond, unknown_after
from functions.edge.refusals import no_file, no_model
from functions.edge.routes.graders import check_grader

MOST_OPEN = 20
"""Runs of a tenant that are not over."""
MOST_EVALS, MOST_RUNS = 1000, 1000
"""Of a tenant, and of an eval."""
MOST_SHOWN = 16 * 2**20
"""Bytes of content that one page is made of."""
_AT_ONCE = 8
SCHEMA_SECONDS = 10.0
"""That the rows of a request may take to be held against a schema."""
Show = Callable[[Request, Mapping[str, Any]], Awaitable[dict[str, Any]]]


async def create_eval(request: Request) -> Response:
    """POST /evals {data_source_config, testing_criteria, name?, metadata?}: graders by which rows are graded."""
    asked = await read(request, EvalRequest)
    config = wire.read_config(asked.data_source_config)
    await _check_items(request, wire.item_schema(config), (), "data_source_config.item_schema")
    for place, criterion in enumerate(wire.read_criteria(asked.testing_criteria)):
        await check_grader(request, criterion, f"testing_criteria[{place}]")
    content = {"data_source_config": config, "testing_criteria": list(asked.testing_criteria)}
    if await deps(request).documents.count("evals", {"tenant": tenant(request), "deleted": False}) >= MOST_EVALS:
        raise ApiError(f"You have {MOST_EVALS} evals. Delete some.", code="too_many_evals")
    same = {**content, "name": asked.name, "metadata": asked.metadata}
    reservation = await reserve(request, "evals", same, new_object_id(request, "eval_"))
    id = reservation.id
    if await owned(request, "evals", id) is None:
        blob = await deps(request).blobs.put(_key(request, id), msgspec.json.encode(content), "application/json")
        await _say(request, EvalCreated(name=asked.name, metadata=asked.metadata, blob=blob), id, "eval.created")
    return await reply_reserved(request, reservation, await _shown_eval(request, await _eval(request, id)))


async def list_evals(request: Request) -> Response:
    """GET /evals: oldest first."""
    return await _page(request, "evals", {}, EvalPage.read(request.query_params), _shown_eval)


async def retrieve_eval(request: Request) -> Response:
    """GET /evals/{eval_id}."""
    return reply(await _shown_eval(request, await _eval(request)))


async def update_eval(request: Request) -> Response:
    """POST /evals/{eval_id} {name?, metadata?}: the criteria stay."""
    asked, view = await read(request, EvalUpdateRequest), await _eval(request)
    name = view["name"] if asked.name is None else asked.name
    metadata = view["metadata"] if asked.metadata is None else asked.metadata
    if (name, metadata) != (view["name"], view["metadata"]):
        await _say(request, EvalUpdated(name=name, metadata=metadata), view["id"], deps(request).new_id())
    return reply(await _shown_eval(request, await _eval(request)))


async def delete_eval(request: Request) -> Response:
    """DELETE /evals/{eval_id}: its runs and all that they graded go with it."""
    id: str = request.path_params["eval_id"]
    view = await owned(request, "evals", id)
    if view is None or (view["deleted"] and not is_retry(request)):
        raise _no_eval(id)
    runs = await deps(request).documents.find("eval_runs", {"tenant": tenant(request), "eval": id, "deleted": False})
    for run in runs:
        await _delete_run(request, run)
    if not view["deleted"]:
        await _say(request, EvalDeleted(), id, "eval.deleted")
    await deps(request).blobs.delete(f"{tenant(request)}/{id}/")
    return reply({"object": "eval.deleted", "deleted": True, "eval_id": id})


async def create_run(request: Request) -> Response:
    """POST /evals/{eval_id}/runs {data_source, name?, metadata?}: rows, answered and graded."""
    asked, of = await read(request, RunRequest), await _eval(request)
    source = wire.read_source(asked.data_source)
    await _check_source(request, source)
    await _check_room(request, of["id"])
    known = await _content(request, of)
    schema = wire.item_schema(known["data_source_config"])
    if source.source.type == "file_content":
        rows = [row.item for row in source.source.content]
        await _check_items(request, schema, rows, "data_source.source.content")
    content = {
        "data_source": asked.data_source,
        "testing_criteria": known["testing_criteria"],
        "metadata": known["data_source_config"].get("metadata"),
        "item_schema": schema if source.source.type == "file_id" else None,  # the others are checked by now
    }
    same = {**asked.data_source, "eval": of["id"], "name": asked.name, "metadata": asked.metadata}
    reservation = await reserve(request, "eval_runs", same, new_object_id(request, "evalrun_"))
    id = reservation.id
    if await owned(request, "eval_runs", id) is None:
        blob = await deps(request).blobs.put(_key(request, id), msgspec.json.encode(content), "application/json")
        data = EvalRunCreated(
            eval=of["id"],
            name=asked.name,
            metadata=asked.metadata,
            model=None if isinstance(source, JsonlSource) else source.model,
            file=source.source.id,
            blob=blob,
        )
        await _say(request, data, id, "eval_run.created")
    return await reply_reserved(request, reservation, await _shown_run(request, await _run(request, id)))


async def _check_source(request: Request, source: wire.DataSource) -> None:
    """Refuse a file and a model that cannot be used."""
    if (id := source.source.id) is not None:
        view = await owned(request, "files", id)
        if view is None or view["deleted"]:
            raise ApiError(no_file(id[:128]).message, param="data_source.source.id", code="file_not_found")
        if view["purpose"] != PURPOSE or view["blob"]["bytes"] > wire.MAX_BYTES:
            sentence = f"Rows of runs lie in files of the purpose '{PURPOSE}', up to {wire.MAX_BYTES} bytes."
            raise ApiError(sentence, param="data_source.source.id", code="invalid_file_purpose")
    if not isinstance(source, JsonlSource) and source.model is not None:
        model = await visible_model(request, source.model)
        if model is None or model["kind"] == "embedding":
            raise ApiError(no_model(source.model[:100]).message, param="data_source.model", code="model_not_found")


async def _check_items(request: Request, schema: Mapping[str, Any] | None, items: Sequence[Any], where: str) -> None:
    """Refuse rows that an eval's schema does not allow, and a schema that is none."""
    coders = deps(request).coders
    if schema is None or coders is None:
        return
    try:
        misfit = await coders.misfit(tenant(request), schema, items, SCHEMA_SECONDS)
    except BusyError:
        sentence = "Too many of your schemas and graders wait to be looked at. Try again when some are."
        raise ApiError(sentence, status=429, code="too_many_graders", headers={"retry-after": "2"}) from None
    except TooCostlyError:
        sentence = f"Invalid '{where}': the eval's item_schema takes too long to be checked. Make it simpler."
        raise ApiError(sentence, param=where, code="schema_too_costly") from None
    if misfit is None:
        return
    if misfit.row is None:
        param = f"data_source_config.item_schema{misfit.place}"
        sentence = f"Invalid '{param}': the item_schema is no JSON schema: {misfit.problem}."
        raise ApiError(sentence, param=param, code="invalid_schema")
    param = f"{where}[{misfit.row}].item{misfit.place}"
    sentence = f"Invalid '{param}': {misfit.problem}, as the eval's item_schema has it."
    raise ApiError(sentence, param=param, code="invalid_row")


async def _check_room(request: Request, of: str) -> None:
    documents = deps(request).documents
    if await documents.count("eval_runs", {"tenant": tenant(request), "over": False}) >= MOST_OPEN:
        sentence = f"You have {MOST_OPEN} runs that are not over. Wait for one, or cancel it."
        raise ApiError(sentence, code="too_many_runs")
    if await documents.count("eval_runs", {"tenant": tenant(request), "eval": of, "deleted": False}) >= MOST_RUNS:
        raise ApiError(f"The eval has {MOST_RUNS} runs. Delete some.", code="too_many_runs")


async def list_runs(request: Request) -> Response:
    """GET /evals/{eval_id}/runs: oldest first."""
    asked, of = RunPage.read(request.query_params), await _eval(request)
    where = {"eval": of["id"], **({"status": asked.status} if asked.status else {})}
    return await _page(request, "eval_runs", where, asked, _shown_run)


async def retrieve_run(request: Request) -> Response:
    """GET /evals/{eval_id}/runs/{run_id}; under `delay` it says what keeps one that is not over."""
    return reply(await _shown_run(request, await _run(request)))


async def cancel_run(request: Request) -> Response:
    """POST /evals/{eval_id}/runs/{run_id}/cancel: what is graded already is kept."""
    return await _cancel(request)


async def cancel_run_here(request: Request) -> Response:
    """POST /evals/{eval_id}/runs/{run_id}: cancels it as well, as OpenAI's documents have it."""
    return await _cancel(request)


async def _cancel(request: Request) -> Response:
    view = await _run(request)
    if not view["canceled"]:
        if view["over"]:
            sentence = f"The run {view['id']} has already ended: its status is {view['status']}."
            raise ApiError(sentence, param="run_id", code="run_already_ended")
        await _say(request, EvalRunCancelRequested(), view["id"], "eval_run.cancel_requested")
    return reply(await _shown_run(request, await _run(request)))


async def delete_run(request: Request) -> Response:
    """DELETE /evals/{eval_id}/runs/{run_id}: one that is not over stops."""
    id: str = request.path_params["run_id"]
    view = await owned(request, "eval_runs", id)
    known = view is not None and view["eval"] == request.path_params["eval_id"]
    if view is None or not known or (view["deleted"] and not is_retry(request)):
        raise _no_run(id)
    await _delete_run(request, view)
    return reply({"object": "eval.run.deleted", "deleted": True, "run_id": id})


async def _delete_run(request: Request, view: Mapping[str, Any]) -> None:
    if not view["deleted"]:
        await _say(request, EvalRunDeleted(), view["id"], "eval_run.deleted")
    await deps(request).blobs.delete(f"{tenant(request)}/{view['id']}/")


async def list_items(request: Request) -> Response:
    """GET /evals/{eval_id}/runs/{run_id}/output_items: the graded rows, also while the run goes on."""
    asked, view = ItemPage.read(request.query_params), await _run(request)
    graded = _graded(view)
    backwards = asked.order == "desc"
    at = graded - 1 if backwards else 0
    if asked.after is not None:
        last = _number(view["id"], asked.after)
        if last is None or last >= graded:
            raise unknown_after(asked.after)
        at = last - 1 if backwards else last + 1
    found: list[dict[str, Any]] = []
    size = 0
    parts: dict[int, list[bytes]] = {}
    while 0 <= at < graded and len(found) <= asked.limit and size <= MOST_SHOWN:
        line = await _line(request, view["id"], at, parts)
        if asked.status is None or line.startswith(b'{"status":"%b"' % asked.status.encode()):
            found.append(_item(line))
            size += len(line)
        at += -1 if backwards else 1
    more = len(found) > asked.limit or 0 <= at < graded
    return reply(openai.page(found[: asked.limit], more))


async def retrieve_item(request: Request) -> Response:
    """GET /evals/{eval_id}/runs/{run_id}/output_items/{output_item_id}."""
    view, id = await _run(request), request.path_params["output_item_id"]
    number = _number(view["id"], id)
    if number is None or number >= _graded(view):
        sentence = f"No such output item of this run: {id[:128]}"
        raise ApiError(sentence, status=404, param="output_item_id")
    return reply(_item(await _line(request, view["id"], number, {})))


def _graded(view: Mapping[str, Any]) -> int:
    found: int = view["passed"] + view["failed"] + view["errored"]
    return found


def _number(run: str, id: str) -> int | None:
    """Return which row an item's id names."""
    begin, _, number = id.rpartition("_")
    if begin != f"outputitem_{run.removeprefix('evalrun_')}" or not (number.isascii() and number.isdigit()):
        return None
    return int(number) if len(number) < 8 else None


async def _line(request: Request, run: str, number: int, parts: dict[int, list[bytes]]) -> bytes:
    """Return a graded row as recorded; one part is held at a time."""
    part = number // wire.PART
    if part not in parts:
        parts.clear()
        key = f"{tenant(request)}/{run}/items/{part:05d}.jsonl"
        parts[part] = (await deps(request).blobs.get(key)).splitlines()
    return parts[part][number % wire.PART]


def _item(line: bytes) -> dict[str, Any]:
    item: dict[str, Any] = json.loads(line)
    item.pop("usage")
    return item


# --- what they share


def _key(request: Request, id: str) -> str:
    return f"{tenant(request)}/{id}/content"


async def _say(request: Request, data: Payload, id: str, *key: str) -> None:
    await publish(request, make(data, subject=id, tenant=tenant(request), id=derived_id(id, *key)))


async def _content(request: Request, view: Mapping[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = msgspec.json.decode(await deps(request).blobs.get(_key(request, view["id"])))
    return content


async def _shown_eval(request: Request, view: Mapping[str, Any]) -> dict[str, Any]:
    return wire.eval_object(view, await _content(request, view))


async def _shown_run(request: Request, view: Mapping[str, Any]) -> dict[str, Any]:
    delay = None if view["over"] else unheld(await deps(request).controls.get(view["id"]))
    return {**wire.run_object(view, await _content(request, view)), "delay": delay}


async def _page(request: Request, model: str, where: Mapping[str, Any], asked: PageQuery, show: Show) -> Response:
    """Answer with one page of what is not deleted, as many as fit into an answer."""
    filters: list[Mapping[str, Any]] = [{"tenant": tenant(request), "deleted": False, **where}]
    if asked.after is not None:
        last = await owned(request, model, asked.after[:128])
        if last is None or last.get("eval") != where.get("eval"):
            raise unknown_after(asked.after)
        filters.append(beyond(last, asked.sort))
    windows = in_windows(deps(request).documents, model, {"$and": filters}, asked.sort, asked.limit + 1)
    views = [view async for window in windows for view in window]
    fitting = _fitting(views[: asked.limit])
    shown: list[dict[str, Any] | None] = []
    for at in range(0, len(fitting), _AT_ONCE):
        shown += await asyncio.gather(*(_if_there(request, view, show) for view in fitting[at : at + _AT_ONCE]))
    return reply(openai.page([each for each in shown if each is not None], len(views) > len(fitting)))


async def _if_there(request: Request, view: Mapping[str, Any], show: Show) -> dict[str, Any] | None:
    """Return what is shown, None for what is deleted at this moment."""
    try:
        return await show(request, view)
    except BlobNotFoundError:
        return None


def _fitting(views: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    size = 0
    for place, view in enumerate(views):
        size += (view.get("blob") or view["created"]["blob"])["bytes"]
        if place and size > MOST_SHOWN:
            return views[:place]
    return views


async def _eval(request: Request, id: str | None = None) -> dict[str, Any]:
    name: str = id or request.path_params["eval_id"]
    view = await owned(request, "evals", name)
    if view is None or view["deleted"]:
        raise _no_eval(name)
    return view


async def _run(request: Request, id: str | None = None) -> dict[str, Any]:
    name: str = id or request.path_params["run_id"]
    view = await owned(request, "eval_runs", name)
    if view is None or view["deleted"] or view["eval"] != request.path_params["eval_id"]:
        raise _no_run(name)
    return view


def _no_eval(id: str) -> ApiError:
    return ApiError(f"No such Eval object: {id[:128]}", status=404, param="eval_id")


def _no_run(id: str) -> ApiError:
    return ApiError(f"No such run of this eval: {id[:128]}", status=404, param="run_id")


ROUTES = [
    Route("/v1/evals", create_eval, methods=["POST"]),
    Route("/v1/evals", list_evals, methods=["GET"]),
    Route("/v1/evals/{eval_id}", retrieve_eval, methods=["GET"]),
    Route("/v1/evals/{eval_id}", update_eval, methods=["POST"]),
    Route("/v1/evals/{eval_id}", delete_eval, methods=["DELETE"]),
    Route("/v1/evals/{eval_id}/runs", create_run, methods=["POST"]),
    Route("/v1/evals/{eval_id}/runs", list_runs, methods=["GET"]),
    Route("/v1/evals/{eval_id}/runs/{run_id}", retrieve_run, methods=["GET"]),
    Route("/v1/evals/{eval_id}/runs/{run_id}", cancel_run_here, methods=["POST"]),
    Route("/v1/evals/{eval_id}/runs/{run_id}", delete_run, methods=["DELETE"]),
    Route("/v1/evals/{eval_id}/runs/{run_id}/cancel", cancel_run, methods=["POST"]),
    Route("/v1/evals/{eval_id}/runs/{run_id}/output_items", list_items, methods=["GET"]),
    Route("/v1/evals/{eval_id}/runs/{run_id}/output_items/{output_item_id}", retrieve_item, methods=["GET"]),
]
