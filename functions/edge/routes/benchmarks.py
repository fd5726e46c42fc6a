"""/v1/benchmarks, /v1/fine_tuning/jobs/{id}/benchmarks, /v1/evaluate: how good a model is, beside its base."""

from __future__ import annotations

from typing import Annotated, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.benchmarks import Item, Result
from contracts.controls import unheld
from contracts.documents.models import PUBLIC, model_id
from contracts.envelope import derived_id, make
from contracts.events.benchmarks import BenchmarkFailed, BenchmarkRequested
from contracts.ports import Reservation
from contracts.wire import benchmarks as wire
from contracts.wire import openai
from contracts.wire.answers import Benchmark, Page
from contracts.wire.requests import Evaluation, JobBenchmark, ModelBenchmark, PageQuery, Rescore
from functions.edge import benchmarks
from functions.edge.context import (
    Answer,
    deps,
    end,
    list_page,
    new_object_id,
    own_model,
    owned,
    publish,
    read,
    reply,
    reply_reserved,
    reserve,
    streamed,
    tenant,
)
from functions.edge.refusals import no_file, no_model
from functions.edge.routes.jobs import find_job


async def create_of_job(request: Request) -> Answer[Benchmark]:
    """POST /fine_tuning/jobs/{id}/benchmarks {tasks?, generalization_file?, forgetting_file?, harness?, judge?, …}."""
    job, asked = await find_job(request), await read(request, JobBenchmark, optional=True)
    rows = await _rows(request, asked)
    base = await deps(request).documents.get("models", model_id(PUBLIC, job["created"]["model"]))
    reservation, view = await _requested(request, benchmarks.of_job(job, base, rows, asked.suite()))
    return await reply_reserved(request, reservation, wire.benchmark(view))


async def create(request: Request) -> Answer[Benchmark]:
    """POST /benchmarks {model, file?, tasks?, generalization_file?, forgetting_file?, harness?, judge?, …}."""
    asked = await read(request, ModelBenchmark, optional=True)
    reservation, view = await _requested(request, await _of_model(request, asked, asked.model, asked.file))
    return await reply_reserved(request, reservation, wire.benchmark(view))


async def evaluate(request: Request) -> Answer[Page[Benchmark]]:
    """POST /evaluate {file, model | models, items?, seed?}: how well models answer from your own documents."""
    wanted = await read(request, Evaluation, optional=True)
    asked = [await _of_model(request, wanted, name, wanted.file) for name in wanted.names()]
    # One key for several benchmarks: each is reserved under its place, and all of them make two requests the same.
    same = {"asked": [each.model_dump(mode="json") for each in asked]}
    made = [await _requested(request, each, f"evaluate/{place}", same) for place, each in enumerate(asked)]
    shown = openai.page([wire.benchmark(view) for _, view in made], False)
    return await reply_reserved(request, [reservation for reservation, _ in made], shown)


async def rescore(request: Request) -> Answer[Benchmark]:
    """POST /benchmarks/{id}/rescore {judge?, metric?}: the same answers, scored by another judge or metric."""
    asked = benchmarks.rescored(await _find(request), await read(request, Rescore, optional=True))
    reservation, view = await _requested(request, asked)
    return await reply_reserved(request, reservation, wire.benchmark(view))


async def _rows(request: Request, asked: JobBenchmark) -> dict[str, str]:
    """Return the files of rows that a request names beside its own, by their role."""
    rows = asked.rows()
    for name in rows.values():
        await _check_file(request, name)
    return rows


async def _check_file(request: Request, name: str) -> None:
    found = await owned(request, "files", name)
    if found is None or found["deleted"]:
        raise no_file(name)


async def _of_model(request: Request, asked: JobBenchmark, name: str, file: str | None) -> BenchmarkRequested:
    view = await own_model(request, name)
    if view is None:
        raise no_model(name)
    if file is None and view["job"]:
        job = await owned(request, "jobs", view["job"])
        file = job["created"]["training_file"] if job else None
    if file is not None:
        await _check_file(request, file)
    base = await own_model(request, view["base_name"]) if view["base_name"] else None
    return benchmarks.of_model(name, view, base, file, await _rows(request, asked), asked.suite())


async def _requested(
    request: Request, data: BenchmarkRequested, route: str = "benchmarks", same: dict[str, Any] | None = None
) -> tuple[Reservation, dict[str, Any]]:
    """Publish the request under its reserved id; returns the benchmark."""
    body = data.model_dump(mode="json") if same is None else same
    reservation = await reserve(request, route, body, new_object_id(request, "bench-"))
    id = reservation.id
    view = await owned(request, "benchmarks", id) if reservation.state == "adopted" else None
    if view is None:
        event = make(data, subject=id, tenant=tenant(request), id=derived_id(id, "benchmark.requested"))
        await publish(request, event)
        view = await _find(request, id)
    return reservation, view


async def _find(request: Request, id: str | None = None) -> dict[str, Any]:
    name: str = id or request.path_params["id"]
    view = await owned(request, "benchmarks", name)
    if view is None:
        raise benchmarks.no_benchmark(name)
    return view


async def list_all(request: Request) -> Answer[Page[Benchmark]]:
    """GET /benchmarks: newest first."""
    return await _page(request, {})


async def list_of_job(request: Request) -> Answer[Page[Benchmark]]:
    """GET /fine_tuning/jobs/{id}/benchmarks: newest first."""
    return await _page(request, {"job": (await find_job(request))["id"]})


async def _page(request: Request, where: dict[str, Any]) -> Answer[Page[Benchmark]]:
    return await list_page(request, "benchmarks", where, PageQuery.read(request.query_params), wire.benchmark)


async def retrieve(request: Request) -> Answer[Benchmark]:
    """GET /benchmarks/{id}."""
    view = await _find(request)
    delay = None if view["ended"] else unheld(await deps(request).controls.get(view["id"]))
    return reply({**wire.benchmark(view), "delay": delay})


async def cancel(request: Request) -> Answer[Benchmark]:
    """POST /benchmarks/{id}/cancel: end it at once, unless somebody ended it first."""
    view = await _find(request)
    benchmarks.check_cancel(view)
    data = BenchmarkFailed(code="cancelled", message="Somebody wanted it so.")
    event = make(data, subject=view["id"], tenant=tenant(request), id=derived_id(view["id"], "end"))
    await end(request, "benchmark", event)
    return reply(wire.benchmark(await _find(request)))


async def report(request: Request) -> Response:
    """GET /benchmarks/{id}/report: one HTML page that needs nothing beside it."""
    return await _blob(request, "report", "text/html; charset=utf-8")


async def result(request: Request) -> Annotated[Response, Result]:
    """GET /benchmarks/{id}/result: everything that was found, as JSON."""
    return await _blob(request, "result", "application/json")


async def items(request: Request) -> Annotated[Response, Item]:
    """GET /benchmarks/{id}/items: every question with what was said and its scores, as JSON lines."""
    return await _blob(request, "items", "application/jsonl")


async def _blob(request: Request, name: str, media_type: str) -> Response:
    view = await _find(request)
    if not view["completed"]:
        raise benchmarks.not_completed(view)
    # The page holds what models and documents say: whatever slipped through its escaping must not run as this origin.
    safe = {"content-security-policy": "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; "
            "script-src 'unsafe-inline'; img-src data:", "x-content-type-options": "nosniff"}  # fmt: skip
    return await streamed(request, view["completed"][name]["key"], media_type, safe)


ROUTES = [
    Route("/v1/fine_tuning/jobs/{id}/benchmarks", create_of_job, methods=["POST"]),
    Route("/v1/fine_tuning/jobs/{id}/benchmarks", list_of_job, methods=["GET"]),
    Route("/v1/benchmarks", create, methods=["POST"]),
    Route("/v1/benchmarks", list_all, methods=["GET"]),
    Route("/v1/benchmarks/{id}", retrieve, methods=["GET"]),
    Route("/v1/benchmarks/{id}/rescore", rescore, methods=["POST"]),
    Route("/v1/benchmarks/{id}/cancel", cancel, methods=["POST"]),
    Route("/v1/benchmarks/{id}/report", report, methods=["GET"]),
    Route("/v1/benchmarks/{id}/result", result, methods=["GET"]),
    Route("/v1/benchmarks/{id}/items", items, methods=["GET"]),
    Route("/v1/evaluate", evaluate, methods=["POST"]),
]
