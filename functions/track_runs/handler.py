"""Write what happens to a job into a tracker; away for an hour, it catches up, and no job waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contracts.canonical import compact
from contracts.documents.facts import View
from contracts.envelope import Event
from contracts.erasure import asked_by, of_benchmarks, of_jobs
from contracts.events.benchmarks import BenchmarkCompleted
from contracts.events.jobs import JobProgressed
from contracts.ports import (
    BlobNotFoundError,
    Blobs,
    Documents,
    Emit,
    Track,
    UnavailableError,
)
from contracts.tracking import Run
from functions._shared.runs import ENDINGS, tracked, training
from functions.track_runs import core

MOST_BYTES = 16 * 2**20
"""Of an artefact; what is larger stays where it is."""
PICTURES = (".png", ".svg")


@dataclass(frozen=True, slots=True)
class TrackingPorts:
    """The ports."""

    documents: Documents
    blobs: Blobs
    emit: Emit
    track: Track


async def on_event(event: Event, deps: TrackingPorts) -> None:
    """Write one event of a job, or of the benchmark of its model; to write it again changes nothing."""
    if event.type.endswith(".deleted"):
        await deps.documents.apply(event)  # whoever writes next shall see it
    if isinstance(event.data, BenchmarkCompleted):
        await _on_benchmark(event, event.data, deps)
        return
    if event.type == "file.deleted":
        await _on_deletion(event, deps)
        return
    job = await _job(event.subject, deps.documents)
    if job["deleted"]:
        await _forget(job, deps)
        return
    if job["plan"] is None:  # it ended before it had one: there is nothing to compare
        if event.type not in ENDINGS:
            raise UnavailableError("mongo", f"the plan of {event.subject} is not known yet")
        return
    run = await _run(job, training(job, await _file(job, deps)), event, deps)
    if isinstance(event.data, JobProgressed):
        await deps.track.log(run, [*core.steps(event, event.data)])
    elif event.type in ENDINGS:
        await _on_ending(event, job, run, deps)


async def _on_ending(event: Event, job: View, run: str, deps: TrackingPorts) -> None:
    await deps.track.keep(run, {"plan.json": compact(job["plan"])})
    if event.type == "job.succeeded":
        made = event.data.model_dump(mode="json")
        results = [await deps.documents.get("files", name) for name in made["result_files"]]
        blobs = [(file["filename"], file["blob"]) for file in results if file and not file["deleted"]]
        file = await _file(job, deps)
        if file and file["validated"] and file["validated"].get("report"):
            blobs.append((core.REPORT, file["validated"]["report"]))
        await _keep(run, blobs, deps)
        await _forget_report(job, deps)
        await deps.track.keep(run, {"card.md": core.card(job, made).encode()})
        await deps.track.register(run, job["created"]["model"], made["fine_tuned_model"], made["manifest"]["key"])
    await deps.track.end(run, ENDINGS[event.type], event.at)


async def _on_benchmark(event: Event, data: BenchmarkCompleted, deps: TrackingPorts) -> None:
    view = await deps.documents.get("benchmarks", event.subject)
    if view is None:
        raise UnavailableError("mongo", f"the benchmark {event.subject} is not known yet")
    if view["job"] is None:  # of a model that no job made
        return
    job = await _job(view["job"], deps.documents)
    if job["deleted"]:
        await _forget(job, deps)
        return
    run = await _run(job, core.benchmark(job, await _file(job, deps), view), event, deps)
    await deps.track.log(run, [*core.scores(event, data)])
    prefix = f"{event.tenant}/{event.subject}/"
    pictures = [key for key in await deps.blobs.list(prefix) if key.endswith(PICTURES)]
    named = [("report.html", data.report.model_dump()), ("result.json", data.result.model_dump())]
    await _keep(run, [*named, *((f"pictures/{key.removeprefix(prefix)}", {"key": key}) for key in pictures)], deps)
    await _forget_answers(view, job, deps)
    await deps.track.end(run, "finished", event.at)


async def _on_deletion(event: Event, deps: TrackingPorts) -> None:
    """Delete the artefacts that say what the deleted file said; scores, hashes and names stay."""
    mine = {"tenant": event.tenant}
    jobs = await deps.documents.find("jobs", {**mine, **of_jobs(event.subject)})
    for job in jobs:
        await _forget_report(job, deps)
    for view in await deps.documents.find("benchmarks", {**mine, **of_benchmarks(event.subject, jobs)}):
        if view["job"] is not None:
            await _forget_answers(view, await _job(view["job"], deps.documents), deps)


async def _forget(job: View, deps: TrackingPorts) -> None:
    """Delete all artefacts of a deleted job and of its benchmarks."""
    file = await _file(job, deps)
    if job["plan"] is not None:
        await deps.track.erase(training(job, file))
    for view in await deps.documents.find("benchmarks", {"tenant": job["tenant"], "job": job["id"]}):
        await deps.track.erase(core.benchmark(job, file, view))


async def _forget_report(job: View, deps: TrackingPorts) -> None:
    """Look after each write whether its file lives: of a write and a deletion, one sees what the other did."""
    file = await _file(job, deps)
    if file is not None and file["deleted"] and job["plan"] is not None:
        await deps.track.erase(training(job, file), (core.REPORT,))


async def _forget_answers(view: View, job: View, deps: TrackingPorts) -> None:
    files = [await deps.documents.get("files", name) for name in asked_by(view, job)]
    if any(file is not None and file["deleted"] for file in files):
        await deps.track.erase(core.benchmark(job, await _file(job, deps), view))


async def _job(id: str, documents: Documents) -> View:
    job = await documents.get("jobs", id)
    if job is None:  # topics have no order among each other
        raise UnavailableError("mongo", f"the job {id} is not known yet")
    return job


async def _file(job: View, deps: TrackingPorts) -> View | None:
    return await deps.documents.get("files", job["created"]["training_file"])


async def _run(job: View, run: Run, event: Event, deps: TrackingPorts) -> str:
    """Return the run's id; who looks at the job is led to it."""
    there = await deps.track.run(run)
    said = tracked(job, run.kind, run.key, deps.track.name, there, event.id)
    if not any(each["run_id"] == there.id for each in job["tracked"]):
        await deps.documents.apply(await deps.emit(said))
    return there.id


async def _keep(run: str, blobs: Sequence[tuple[str, Any]], deps: TrackingPorts) -> None:
    for name, blob in blobs:
        stat = await deps.blobs.stat(blob["key"])
        if stat is not None and stat.bytes <= MOST_BYTES:
            try:
                await deps.track.keep(run, {name: await deps.blobs.get(blob["key"])})
            except BlobNotFoundError:  # deleted meanwhile
                continue
