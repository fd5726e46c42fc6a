"""Reacts to a deletion: what was made of it elsewhere goes too; trackers hear of it by the same event.

Of a job that has ended only what its models need to answer stays.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from contracts.controls import Control
from contracts.documents.facts import View
from contracts.documents.models import model_id
from contracts.envelope import Event
from contracts.erasure import checkpoints_prefix, of_benchmarks, of_jobs, read_by
from contracts.manifest import ManifestRef
from contracts.ports import Blobs, Controls, Documents, UnavailableError
from functions._shared.model_blobs import answering
from functions.erase_content import core


@dataclass(frozen=True, slots=True)
class ErasurePorts:
    """The ports."""

    documents: Documents
    blobs: Blobs
    controls: Controls
    publish: Callable[[Control], Awaitable[None]]
    """Publishes a control document's recorded events."""


async def on_event(event: Event, deps: ErasurePorts) -> None:
    """Erase what a deleted file's content was copied into, or what a job kept that nobody needs once it has ended.

    The second time there is nothing left to erase.
    """
    if event.type.endswith(".deleted"):
        await deps.documents.apply(event)  # whoever writes next shall see it
    if event.type == "completion.deleted":
        await deps.blobs.delete(f"{event.tenant}/{event.subject}/")
    elif event.type == "file.deleted":
        await _erase(event.subject, event, deps)
    elif event.type == "job.deleted":
        benchmarks = await deps.documents.find("benchmarks", {"tenant": event.tenant, "job": event.subject})
        await _end(benchmarks, None, event, deps)
        for each in (event.subject, *(each["id"] for each in benchmarks)):
            await deps.blobs.delete(f"{event.tenant}/{each}/")
    elif event.type == "model.deleted":
        model = await deps.documents.get("models", model_id(event.tenant, event.subject))
        if model is not None and model["job"] is not None:
            await keep_models(await _job(model["job"], deps), deps.documents, deps.blobs)
    else:
        await _on_ending(event, deps)


async def _on_ending(event: Event, deps: ErasurePorts) -> None:
    job = await _job(event.subject, deps)
    await keep_models(job, deps.documents, deps.blobs)
    for name in read_by(job):
        file = await deps.documents.get("files", name)
        if file is not None and file["deleted"] and file["tenant"] == event.tenant:
            await _erase(name, event, deps)


async def keep_models(job: View, documents: Documents, blobs: Blobs) -> None:
    """Delete all checkpoints of a job that has ended but what its living models need to answer.

    Raises UnavailableError where the job's model is not known yet.
    """
    tenant, made = job["tenant"], job["succeeded"]
    if made and await documents.get("models", model_id(tenant, made["fine_tuned_model"])) is None:
        raise UnavailableError("mongo", f"the model of {job['id']} is not known yet")
    living = await documents.find("models", {"tenant": tenant, "job": job["id"], "deleted": False})
    needed = await answering(blobs, [ManifestRef.model_validate(each["manifest"]) for each in living])
    prefix = checkpoints_prefix(tenant, job["id"])
    if doomed := [key for key in await blobs.list(prefix) if key not in needed]:
        await blobs.remove(doomed)


async def _job(id: str, deps: ErasurePorts) -> View:
    job = await deps.documents.get("jobs", id)
    if job is None:  # topics have no order among each other
        raise UnavailableError("mongo", f"the job {id} is not known yet")
    return job


async def _erase(file: str, event: Event, deps: ErasurePorts) -> None:
    mine = {"tenant": event.tenant}
    jobs = await deps.documents.find("jobs", {**mine, **of_jobs(file)})
    benchmarks = await deps.documents.find("benchmarks", {**mine, **of_benchmarks(file, jobs)})
    await _end(benchmarks, file, event, deps)
    for prefix in core.prefixes(event.tenant, file, jobs, benchmarks):
        await deps.blobs.delete(prefix)


async def _end(benchmarks: Sequence[View], file: str | None, event: Event, deps: ErasurePorts) -> None:
    for each in (each for each in benchmarks if not each["ended"]):
        control = await deps.controls.open(each["id"], each["tenant"], "benchmark", {}, ready=False)
        await deps.publish(await deps.controls.end(control.subject, [core.ended(each, file, event.id)]))
