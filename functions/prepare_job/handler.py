"""Joins jobs with their files and base models: whichever event completes a join, or rules it out, acts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from contracts.controls import Control
from contracts.documents import View
from contracts.documents.models import model_id
from contracts.envelope import Event
from contracts.ports import Controls, Documents, Emit, WakeUp
from functions._shared.settings import WaitSettings
from functions.prepare_job import core

STAGE = "prepare"
WAITED_FOR = (
    "file.uploaded",
    "file.validated",
    "file.rejected",
    "file.deleted",
    "zip.uploaded",
    "document.uploaded",
    "dataset.recurated",
    "dataset.assembled",
    "dataset.failed",
    "model.registered",
)
JOINS = ("prep_jobs", "files", "models")


@dataclass(frozen=True, slots=True)
class PreparationPorts:
    """What the handler needs of the world."""

    documents: Documents
    controls: Controls
    emit: Emit
    publish: Callable[[Control], Awaitable[None]]
    """Publishes a control document's recorded events."""
    wake: WakeUp
    now: Callable[[], int]
    """Milliseconds."""
    settings: WaitSettings
    """How long a job waits for a file or model of which nothing is known."""


async def on_prep(event: Event, deps: PreparationPorts) -> None:
    """File the event in the joins, then look at every job that it may concern."""
    await deps.documents.apply(event, *JOINS)
    if event.type == "job.created":
        await _settle(event.subject, deps, event)
        return
    of_model = event.type == "model.registered"
    came = model_id(event.tenant, event.subject) if of_model else event.subject
    async for job in deps.documents.each("prep_jobs", {"needs": came, "waits": True}):
        await _settle(job["id"], deps)


async def retake(job: View, deps: PreparationPorts) -> None:
    """Look at a job again because time has passed: what is still unknown then is not coming."""
    await _settle(job["id"], deps)


async def _settle(name: str, deps: PreparationPorts, born: Event | None = None) -> None:
    """Make the job ready, end it, or let it wait; one that is being prepared or further on is left alone."""
    control = await deps.controls.get(name)
    job = await deps.documents.get("prep_jobs", name)
    if job is None or not job["waits"]:
        return
    if control is not None and (control.ended or control.ready or control.stage != STAGE):
        return
    files = {file: await deps.documents.get("files", file) for file in job["files"]}
    base = await deps.documents.get("models", job["base"])
    # The wait begins when the job is first seen: after an outage its file may lie in a topic that was not read yet.
    seen = control.opened_at if control else deps.now()
    patience = int(deps.settings.file_wait_seconds * 1000)
    match core.decide({**job, "at": max(job["at"], seen)}, files, base, deps.now(), patience):
        case core.Ready(inputs):
            await deps.controls.open(name, job["tenant"], STAGE, inputs)
            deps.wake(STAGE)
        case core.Fail() as fail:
            await deps.controls.open(name, job["tenant"], STAGE, {}, ready=False)
            ending = core.failed(name, job["tenant"], born.id if born else None, fail)
            await deps.publish(await deps.controls.end(name, [ending]))
        case core.Wait() as wait:
            await deps.controls.open(name, job["tenant"], STAGE, {}, ready=False)
            first = born is not None or control is None  # a reconciler may see the job before its event comes here
            if first and (event := core.delayed(name, job["tenant"], born.id if born else None, wait)):
                await deps.emit(event)
