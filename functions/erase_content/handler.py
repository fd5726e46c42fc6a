"""Reacts to a deletion: what was made of the file elsewhere goes too; trackers hear of it by the same event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from contracts.controls import Control
from contracts.envelope import Event
from contracts.erasure import of_benchmarks, of_jobs, read_by
from contracts.ports import Blobs, Controls, Documents, UnavailableError
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
    """Erase what a deleted file's content was copied into, or what a job kept of files that went while it ran.

    The second time there is nothing left to erase.
    """
    if event.type == "file.deleted":
        await _erase(event.subject, event, deps)
        return
    job = await deps.documents.get("jobs", event.subject)
    if job is None:  # topics have no order among each other
        raise UnavailableError("mongo", f"the job {event.subject} is not known yet")
    for name in read_by(job):
        file = await deps.documents.get("files", name)
        if file is not None and file["deleted"] and file["tenant"] == event.tenant:
            await _erase(name, event, deps)


async def _erase(file: str, event: Event, deps: ErasurePorts) -> None:
    mine = {"tenant": event.tenant}
    jobs = await deps.documents.find("jobs", {**mine, **of_jobs(file)})
    benchmarks = await deps.documents.find("benchmarks", {**mine, **of_benchmarks(file, jobs)})
    for each in (each for each in benchmarks if not each["ended"]):
        control = await deps.controls.open(each["id"], each["tenant"], "benchmark", {}, ready=False)
        await deps.publish(await deps.controls.end(control.subject, [core.ended(each, file, event.id)]))
    for prefix in core.prefixes(event.tenant, file, jobs, benchmarks):
        await deps.blobs.delete(prefix)
