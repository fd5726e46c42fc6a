"""/v1/fine_tuning/jobs: create, list, retrieve, delete, cancel, pause, resume, events, checkpoints."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.controls import unheld
from contracts.documents.models import PUBLIC
from contracts.envelope import derived_id, make
from contracts.events.corpus import DatasetAsked, DocumentUploaded, ZipUploaded
from contracts.events.jobs import JobCancelled, JobCreated, JobPauseRequested, JobResumeRequested
from contracts.ports import Reservation
from contracts.results import JSONL
from contracts.tracking import WANDB, wandb_secret
from contracts.wire import openai
from contracts.wire.answers import JobDeleted, JobMetrics, Page, StepResult
from contracts.wire.requests import CheckpointPage, DatasetRequest, JobRequest, MetricPage, PageQuery
from functions.edge import core, deletions, listing
from functions.edge.context import (
    Answer,
    check_dataset,
    deps,
    end,
    in_windows,
    is_retry,
    key_id,
    list_page,
    new_object_id,
    own_model,
    owned,
    publish,
    read,
    reply,
    reply_reserved,
    reserve,
    say,
    tenant,
)
from functions.edge.refusals import no_documents, no_job
from functions.edge.results import content


async def create_job(request: Request) -> Response:
    """POST /fine_tuning/jobs."""
    reservation, view = await created(request)
    return await reply_reserved(request, reservation, openai.job(view))


async def created(request: Request) -> tuple[Reservation, dict[str, Any]]:
    """Refuse what is known to be wrong, then publish `job.created`; returns the job under its reserved id."""
    asked = await read(request, JobRequest)
    data = asked.event(key_id(request))
    await _check(request, data, asked.dataset)
    key = await _wandb_key(request, asked.wandb_key()) if data.integrations else None
    new_id = new_object_id(request, "ftjob-")
    same = data.model_dump(mode="json", exclude={"creator_id"})
    if asked.dataset is not None:
        same["dataset"] = asked.dataset.model_dump(mode="json", exclude_none=True)
    reservation = await reserve(request, "fine_tuning/jobs", same, new_id)
    id = reservation.id
    view = await owned(request, "jobs", id) if reservation.state == "adopted" else None
    if view is None:
        if key:
            await deps(request).secrets.put(tenant(request), wandb_secret(id), key)
        if asked.dataset is not None:
            data = await _on_documents_again(request, id, data, asked.dataset)
        event = make(data, subject=id, tenant=tenant(request), id=derived_id(id, "job.created"))
        await publish(request, event)
        view = await find_job(request, id)
    return reservation, view


async def _wandb_key(request: Request, given: str | None) -> str | None:
    """Return the key that came with the request; refuses a job for which there is none."""
    stored = None if given else await deps(request).secrets.get(tenant(request), WANDB)
    core.check_wandb(deps(request).wandb, given or stored)
    return given


async def _on_documents_again(request: Request, job: str, data: JobCreated, asked: DatasetRequest) -> JobCreated:
    """Return the job on a file of its own: the same documents once more, whose data set is made as the job asks."""
    blobs, owner = deps(request).blobs, tenant(request)
    archive = await owned(request, "archives", data.training_file)
    if archive is not None and archive["source"] is not None:
        archive = await owned(request, "archives", archive["source"])
    if archive is None:
        raise no_documents(data.training_file)
    id = "file-" + derived_id(job, "dataset").replace("-", "")
    blob = await blobs.put(f"{owner}/{id}/content", blobs.stream(f"{owner}/{archive['id']}/content"))
    said = {**archive["uploaded"], "blob": blob, "dataset": DatasetAsked(**asked.model_dump())}
    born = DocumentUploaded(**said) if archive["single"] else ZipUploaded(**said)
    await publish(request, make(born, subject=id, tenant=owner, id=derived_id(id, "file.uploaded")))
    return data.model_copy(update={"training_file": id})


async def _check(request: Request, data: JobCreated, dataset: DatasetRequest | None) -> None:
    """Refuse files and models that are known to be unusable; preparation has the last word."""
    await check_dataset(request, dataset)
    base = await own_model(request, data.model)
    known: list[str] = []
    if base is None:
        bases = await deps(request).documents.find(
            "models", {"tenant": PUBLIC, "deleted": False, "kind": "base"}, [("id", 1)], 20
        )
        known = [view["id"] for view in bases]
    core.check_base(data, base, known)
    for param, id in (("training_file", data.training_file), ("validation_file", data.validation_file)):
        if id is not None:
            view = await owned(request, "files", id)
            if dataset is not None and view is not None and param == "training_file":
                if not view["archive"]:
                    raise no_documents(id)
                view = {**view, "rejected": None}  # another data set of them may be one
            core.check_training_file(id, param, tenant(request), view)


async def find_job(request: Request, id: str | None = None) -> dict[str, Any]:
    """Return the tenant's job of that id, or of the path's; raises ApiError (404)."""
    name: str = id or request.path_params["id"]
    view = await owned(request, "jobs", name)
    if view is None or view["deleted"]:
        raise no_job(name)
    return view


async def list_jobs(request: Request) -> Response:
    """GET /fine_tuning/jobs: newest first."""
    asked, where = PageQuery.read(request.query_params), listing.metadata_filter(request.query_params)
    return await list_page(request, "jobs", {**where, "deleted": False}, asked, openai.job, as_it_goes)


async def as_it_goes(request: Request, view: dict[str, Any]) -> dict[str, Any]:
    """Add to a job what other documents say of it: why it waits, and its newest step, by which its end is told."""
    if not view["ended"] and view["delay"] is None:
        view = {**view, "delay": unheld(await deps(request).controls.get(view["id"]))}
    if view["status"] == "running":
        metrics = {"job": view["id"], "type": "metrics"}
        last = await deps(request).documents.find("job_events", metrics, [("sort", -1)], 1)
        view = {**view, "last": last[0] if last else None}
    return view


async def retrieve_job(request: Request) -> Response:
    """GET /fine_tuning/jobs/{id}."""
    view = await as_it_goes(request, await find_job(request))
    file = await owned(request, "files", view["created"]["training_file"])
    return reply(openai.job({**view, "warnings": ((file or {}).get("validated") or {}).get("warnings")}))


async def delete_job(request: Request) -> Answer[JobDeleted]:
    """DELETE /fine_tuning/jobs/{id}: of one that has ended; its models and result files go with it, and all bytes."""
    id: str = request.path_params["id"]
    job = await owned(request, "jobs", id)
    if job is None or (job["deleted"] and not is_retry(request)):
        raise no_job(id)
    core.check_delete(job)
    gone = await deletions.delete_job(request, job)
    return reply(JobDeleted(id=id, object="fine_tuning.job", deleted=True, models=gone["models"], files=gone["files"]))


async def cancel_job(request: Request) -> Response:
    """POST /fine_tuning/jobs/{id}/cancel."""
    return reply(openai.job(await cancelled(request)))


async def cancelled(request: Request) -> dict[str, Any]:
    """End the path's job at once, unless somebody ended it first; returns it."""
    job = await find_job(request)
    if job["status"] == "cancelled" and is_retry(request):
        return job
    core.check_cancel(job)
    id = job["id"]
    event = make(JobCancelled(reason="requested"), subject=id, tenant=tenant(request), id=derived_id(id, "end"))
    await end(request, "prepare", event)
    job = await find_job(request)
    if job["status"] != "cancelled":
        core.check_cancel(job)
    return job


async def pause_job(request: Request) -> Response:
    """POST /fine_tuning/jobs/{id}/pause."""
    return await _desire(request, "pause")


async def resume_job(request: Request) -> Response:
    """POST /fine_tuning/jobs/{id}/resume."""
    return await _desire(request, "run")


async def _desire(request: Request, wanted: Literal["pause", "run"]) -> Response:
    """Open an epoch on the control document, then say so."""
    job = await find_job(request)
    if core.wants_change(job, wanted):
        id = job["id"]
        request_id = deps(request).new_id()
        control = await deps(request).controls.desire(id, wanted, request_id)
        if control is not None:
            data = JobPauseRequested() if wanted == "pause" else JobResumeRequested()
            await publish(request, make(data, subject=id, tenant=tenant(request), id=request_id, epoch=control.epoch))
        elif (ended := await deps(request).controls.get(id)) is not None and ended.ended:
            await say(request, ended)
        job = await find_job(request)
        if control is None:
            core.check_desired(job)
    return reply(openai.job(job))


async def list_events(request: Request) -> Response:
    """GET /fine_tuning/jobs/{id}/events: newest first."""
    views, more = await event_page(request, PageQuery.read(request.query_params))
    return reply(openai.page([openai.job_event(view) for view in views], more))


async def event_page(request: Request, asked: PageQuery) -> tuple[list[dict[str, Any]], bool]:
    """Return one page of the path's job's events, without what a newer run made again, and whether more follow."""
    job = await find_job(request)
    documents = deps(request).documents
    filters: list[dict[str, Any]] = [{"job": job["id"], "tenant": tenant(request)}, core.visible_events(job["runs"])]
    if asked.after is not None:
        last = await documents.get("job_events", asked.after)
        if last is None or last["job"] != job["id"]:
            raise listing.unknown_after(asked.after)
        filters.append({"sort": {"$lt" if asked.direction < 0 else "$gt": last["sort"]}})
    found = await documents.find("job_events", {"$and": filters}, [("sort", asked.direction)], asked.limit + 1)
    return found[: asked.limit], len(found) > asked.limit


async def list_metrics(request: Request) -> Answer[Page[JobMetrics]]:
    """GET /fine_tuning/jobs/{id}/metrics?after=STEP&limit: what was measured at each step, the first step first."""
    job = await find_job(request)
    asked = MetricPage.read(request.query_params)
    where: dict[str, Any] = {"job": job["id"], "tenant": tenant(request), "type": "metrics"}
    if asked.after is not None:
        where["step"] = {"$gt": int(asked.after)}
    filters = {"$and": [where, core.visible_events(job["runs"])]}
    windows = in_windows(deps(request).documents, "job_events", filters, [("sort", 1)], asked.limit + 1)
    shown = [openai.step_metrics(view) async for window in windows for view in window]
    return reply(openai.page(shown[: asked.limit], len(shown) > asked.limit))


async def results(request: Request) -> Annotated[Response, StepResult]:
    """GET /fine_tuning/jobs/{id}/results: a JSON line for each step, as far as the job is."""
    lines = await content(deps(request).documents, await find_job(request), JSONL)
    return Response(lines, media_type="application/jsonl")


async def list_checkpoints(request: Request) -> Response:
    """GET /fine_tuning/jobs/{id}/checkpoints: newest first."""
    job = await find_job(request)
    asked = CheckpointPage.read(request.query_params)
    where = {"job": job["id"], "tenant": tenant(request)}
    found = await deps(request).documents.find("models", where, [("step", -1)])
    views, more = listing.after_checkpoint(found, asked)
    return reply(openai.page([openai.checkpoint(view) for view in views], more))


ROUTES = [
    Route("/v1/fine_tuning/jobs", create_job, methods=["POST"]),
    Route("/v1/fine_tuning/jobs", list_jobs, methods=["GET"]),
    Route("/v1/fine_tuning/jobs/{id}", retrieve_job, methods=["GET"]),
    Route("/v1/fine_tuning/jobs/{id}", delete_job, methods=["DELETE"]),
    Route("/v1/fine_tuning/jobs/{id}/cancel", cancel_job, methods=["POST"]),
    Route("/v1/fine_tuning/jobs/{id}/pause", pause_job, methods=["POST"]),
    Route("/v1/fine_tuning/jobs/{id}/resume", resume_job, methods=["POST"]),
    Route("/v1/fine_tuning/jobs/{id}/events", list_events, methods=["GET"]),
    Route("/v1/fine_tuning/jobs/{id}/metrics", list_metrics, methods=["GET"]),
    Route("/v1/fine_tuning/jobs/{id}/results", results, methods=["GET"]),
    Route("/v1/fine_tuning/jobs/{id}/checkpoints", list_checkpoints, methods=["GET"]),
]
