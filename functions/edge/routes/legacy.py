"""T-Systems LLMHub's own paths: /finetune-jobs, /files/validate, /val_dataset, and the root that says it is online."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route

from contracts.wire import legacy, openai
from contracts.wire.answers import LegacyJob, LegacyJobEvent, LegacyValidation, LegacyVerdict, Page
from contracts.wire.errors import ApiError, missing
from contracts.wire.requests import LegacyEventPage, LegacyJobPage
from functions.edge.context import Answer, list_page, owned, reply, reply_reserved
from functions.edge.refusals import no_file
from functions.edge.routes import jobs

PATIENCE = 60.0
"""Seconds that `POST /val_dataset` waits for the verdict."""
INTERVAL = 0.1
"""Seconds between two looks at the file."""


async def online(_request: Request) -> Answer[dict[str, str]]:
    """GET /: no key is asked for."""
    return reply(legacy.ONLINE)


async def validate_file(request: Request) -> Answer[LegacyValidation]:
    """GET /files/validate/{id}: says whether validation, which every upload starts, is still going on."""
    return reply(legacy.validation(await _training_file(request, request.path_params["id"])))


async def validate_dataset(request: Request) -> Answer[LegacyVerdict]:
    """POST /val_dataset?file_id=: answers with the verdict of validation, or with 503 when that takes too long."""
    id = request.query_params.get("file_id")
    if not id:
        raise missing("file_id")
    try:
        async with asyncio.timeout(PATIENCE):
            while (view := await _training_file(request, id))["status"] == "uploaded":
                if await request.is_disconnected():
                    raise ClientDisconnect
                await asyncio.sleep(INTERVAL)
    except TimeoutError:
        raise _still_checked(id) from None
    return reply(legacy.verdict(view))


async def _training_file(request: Request, id: str) -> dict[str, Any]:
    view = await owned(request, "files", id)
    if view is None or view["deleted"]:
        raise no_file(id)
    if view["purpose"] != openai.TRAINING:
        sentence = f"The file {id} has purpose '{view['purpose']}'; only files with purpose 'fine-tune' are validated."
        raise ApiError(sentence, param="file_id", code="invalid_file_purpose")
    return view


def _still_checked(id: str) -> ApiError:
    return ApiError(
        f"The file {id} is still being validated. Ask again, or see `validation` of GET /files/{id}.",
        status=503,
        param="file_id",
        code="validation_in_progress",
        headers={"retry-after": "5"},
    )


async def create_job(request: Request) -> Answer[LegacyJob]:
    """POST /finetune-jobs."""
    reservation, view = await jobs.created(request)
    return await reply_reserved(request, reservation, legacy.job(view))


async def list_jobs(request: Request) -> Answer[Page[LegacyJob]]:
    """GET /finetune-jobs: oldest first."""
    asked = LegacyJobPage.read(request.query_params)
    return await list_page(request, "jobs", {"deleted": False}, asked, legacy.job, jobs.as_it_goes)


async def retrieve_job(request: Request) -> Answer[LegacyJob]:
    """GET /finetune-jobs/{id}."""
    return reply(legacy.job(await jobs.as_it_goes(request, await jobs.find_job(request))))


async def cancel_job(request: Request) -> Answer[LegacyJob]:
    """POST /finetune-jobs/{id}/cancel."""
    return reply(legacy.job(await jobs.cancelled(request)))


async def list_events(request: Request) -> Answer[Page[LegacyJobEvent]]:
    """GET /finetune-jobs/{id}/events: oldest first."""
    views, more = await jobs.event_page(request, LegacyEventPage.read(request.query_params))
    return reply(openai.page([legacy.job_event(view) for view in views], more))


ROUTES = [
    Route("/v1/files/validate/{id}", validate_file, methods=["GET"]),
    Route("/v1/val_dataset", validate_dataset, methods=["POST"]),
    Route("/v1/finetune-jobs", create_job, methods=["POST"]),
    Route("/v1/finetune-jobs", list_jobs, methods=["GET"]),
    Route("/v1/finetune-jobs/{id}", retrieve_job, methods=["GET"]),
    Route("/v1/finetune-jobs/{id}/cancel", cancel_job, methods=["POST"]),
    Route("/v1/finetune-jobs/{id}/events", list_events, methods=["GET"]),
]
ROOT = [Route("/", online, methods=["GET"])]
"""The last of all routes: whatever else answers at the root goes before it."""
