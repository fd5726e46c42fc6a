"""A job has succeeded, or somebody asks: fix what is to be benchmarked, and open the stage that does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from contracts.documents import View
from contracts.documents.models import PUBLIC, model_id
from contracts.envelope import Event
from contracts.events.benchmarks import BenchmarkFailed, BenchmarkRequested, Suite
from contracts.function import said_again
from contracts.ports import Controls, Documents, Emit, UnavailableError, WakeUp
from functions.benchmark_model import core

STAGE = "benchmark"


@dataclass(frozen=True, slots=True)
class BenchmarkPorts:
    """The ports, and the suite that follows every job; None: none does."""

    documents: Documents
    controls: Controls
    emit: Emit
    publish: Callable[..., Awaitable[None]]
    wake: WakeUp
    suite: Suite | None
    general_file: str | None = None
    """A file of general rows that is asked then, in the tenant whose file it is."""


async def on_job_succeeded(event: Event, deps: BenchmarkPorts) -> None:
    """Request the benchmark of a job that has just succeeded."""
    job = await deps.documents.get("jobs", event.subject)
    if job is None:  # unborn here yet: topics have no order among each other
        raise UnavailableError("mongo", f"the job {event.subject} is not known yet")
    base = await deps.documents.get("models", model_id(PUBLIC, job["created"]["model"]))
    general = await deps.documents.get("files", deps.general_file) if deps.general_file else None
    wanted = core.after_job(event, job, base, deps.suite, general)
    if wanted is not None:
        await deps.documents.apply(await deps.emit(wanted))


async def on_benchmark_requested(event: Event, deps: BenchmarkPorts) -> None:
    """Open the stage, or say why there is nothing to benchmark."""
    found = await _inputs(BenchmarkRequested.model_validate(event.data.model_dump()), event.tenant, deps.documents)
    if isinstance(found, BenchmarkFailed):
        control = await deps.controls.open(event.subject, event.tenant, STAGE, {}, ready=False)
        ending = core.failed(event.subject, event.tenant, event.id, found)
        await deps.publish(await deps.controls.end(control.subject, (ending,)))
        return
    await deps.controls.open(event.subject, event.tenant, STAGE, {"event_id": event.id, **found})
    deps.wake(STAGE)


async def retake(benchmark: View, deps: BenchmarkPorts) -> None:
    """Open the stage of a benchmark again, or say why there is nothing to benchmark."""
    await on_benchmark_requested(said_again(benchmark, "benchmark.requested", benchmark["requested"]), deps)


async def _inputs(requested: BenchmarkRequested, tenant: str, documents: Documents) -> dict[str, Any] | BenchmarkFailed:
    job = await documents.get("jobs", requested.job) if requested.job else None
    names = {requested.file, *core.more_rows(requested, job)}
    names |= set(job["succeeded"]["result_files"]) if job and job["succeeded"] else set()
    files = {name: await documents.get("files", name) for name in names if name}
    base = await documents.get("models", model_id(PUBLIC, requested.base_name))
    models = {
        name: await documents.get("models", model_id(tenant, name))
        or await documents.get("models", model_id(PUBLIC, name))
        for name in {model.name for model in requested.models.values()}
    }
    answered = await documents.get("benchmarks", requested.rescores) if requested.rescores else None
    return core.inputs(requested, tenant, files, job, base, models, answered)
