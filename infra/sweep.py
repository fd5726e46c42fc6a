"""The sweeper: whatever was begun and not brought to its end by a dead process is taken up again."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from contracts.controls import Control
from contracts.documents import View
from contracts.ports import Emit
from functions.control_job.core import at_rest
from infra.adapters.mongo import MongoDocuments
from infra.adapters.mongo_controls import MongoControls, new_document
from infra.work import publish_recorded

log = logging.getLogger("temper.sweep")

SETTLED_SECONDS = 5.0
"""Younger things are left alone: somebody is most likely at them."""
AFTER_LOSS_SECONDS = 30.0
"""Leases from before a loss of MongoDB have run out after this."""
UNFINISHED = ("validating_files", "queued", "running", "paused")

LOOK_SECONDS = 20.0
"""An archive of thousands of documents is not looked at more often than this."""

Reconsider = Callable[[str], Awaitable[None]]
"""Looks at one job in `validating_files` again: prepare_job's own handler."""
ReconsiderArchive = Callable[[View], Awaitable[None]]
"""Takes the steps that an archive's state allows again."""


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Compares read models with control documents and repairs what differs."""

    documents: MongoDocuments
    controls: MongoControls
    emit: Emit
    reconsider: Reconsider
    now: Callable[[], int]
    reconsider_archive: ReconsiderArchive | None = None
    looked: dict[str, int] = field(default_factory=dict)
    """Archive → when it was looked at last, in milliseconds."""

    async def sweep(self) -> int:
        """Do one round; returns how many things had to be taken up."""
        taken = 0
        async for control in self.controls.unpublished(SETTLED_SECONDS):
            log.warning("%s: publishing what was decided and not yet said", control.subject)
            await publish_recorded(control, self.controls, self.emit, self.documents)
            taken += 1
        settled = {"created_at": {"$lt": self.now() - int(SETTLED_SECONDS * 1000)}}
        rows = {"status": "uploaded", "deleted": False, "archive": False}
        async for file in self.documents.each("files", {**rows, **settled}):
            taken += await self._file(file)
        await self._archives()
        async for job in self.documents.each("jobs", {"status": {"$in": list(UNFINISHED)}, **settled}):
            taken += await self._job(job)
        return taken

    async def _archives(self) -> None:
        """Look at archives that have no data set yet, each after a while and then now and again."""
        if self.reconsider_archive is None:
            return
        seen = set()
        async for archive in self.documents.each("archives", {"unfinished": True}):
            seen.add(archive["id"])
            if self.now() - int(self.looked.get(archive["id"]) or archive["created_at"]) >= LOOK_SECONDS * 1000:
                self.looked[archive["id"]] = self.now()
                await self.reconsider_archive(archive)
        for ended in self.looked.keys() - seen:
            del self.looked[ended]

    async def _file(self, file: View) -> bool:
        control = await self.controls.get(file["id"])
        if control is None:
            await self.controls.open(file["id"], file["tenant"], "validate", validate_inputs(file))
            return True
        return control.ended and await self._again(control)

    async def _job(self, job: View) -> bool:
        control = await self.controls.get(job["id"])
        if job["status"] == "validating_files" and (control is None or control.stage == "prepare"):
            if control is not None and control.ended:
                return await self._again(control)
            await self.reconsider(job["id"])
            return False
        if control is None:
            return await self.controls.restore(await self._derived(job))
        if control.ended or (job["plan"] is None and control.stage == "train"):
            return await self._again(control)
        rest = at_rest(control)
        if rest is not None and job["status"] != "paused":
            await self.documents.apply(await self.emit(rest))
            return True
        return False

    async def _again(self, control: Control) -> bool:
        """Say recorded events once more: Kafka acknowledged them, and yet the read model lacks one."""
        if control.published < len(control.events):
            return False  # the first part of the sweep has them
        for event in control.events:
            await self.documents.apply(await self.emit(event))
        return True

    async def restore(self) -> int:
        """Derive every control document from the read models after MongoDB was lost; returns how many were missing."""
        restored = 0
        for file in await self.documents.find("files", {"deleted": False, "archive": False}):
            ended = file["status"] != "uploaded"
            restored += await self.controls.restore(
                derived(file["id"], file["tenant"], "validate", validate_inputs(file), ended=ended)
            )
        for job in await self.documents.find("jobs", {}):
            restored += await self.controls.restore(await self._derived(job))
        if restored:
            await self.controls.hold_claims(AFTER_LOSS_SECONDS)
        return restored

    async def _derived(self, job: View) -> dict[str, Any]:
        epochs = {request["epoch"]: request for request in job["requests"] if request["epoch"]}
        latest = epochs[max(epochs)] if epochs else None
        found = derived(
            job["id"],
            job["tenant"],
            "train" if job["plan"] else "prepare",
            {"created": job["created"], "plan": job["plan"]},
            ended=job["ended"],
            ready=job["plan"] is not None,
        )
        checkpoints = await self.documents.find("job_checkpoints", {"job": job["id"]}, sort=[("step", 1)])
        visible = [each for each in checkpoints if not hidden(each, job["runs"])]
        found["checkpoints"] = [
            {
                "step": each["step"],
                "manifest": each["manifest"],
                "epoch_end": each["epoch_end"],
                "fence": each["attempt"],
            }
            for each in visible
        ]
        found["epoch"] = max([1, *epochs, *(run["epoch"] for run in job["runs"])])
        found["desired"] = "pause" if latest and latest["topic"] == "job.pause_requested" else "run"
        found["requests"] = [{"id": each["id"], "epoch": epoch} for epoch, each in sorted(epochs.items())]
        found["fence"] = max([0, *(run["attempt"] for run in job["runs"]), *(each["attempt"] for each in checkpoints)])
        return found


def hidden(item: Mapping[str, Any], runs: list[dict[str, Any]]) -> bool:
    """Whether a newer attempt started before this step, so that what an older one said of it no longer counts."""
    mine = (item["epoch"], item["attempt"])
    return any((run["epoch"], run["attempt"]) > mine and item["step"] > run["from_step"] for run in runs)


def validate_inputs(file: View) -> dict[str, Any]:
    """Return what validation needs, from the read model of a file."""
    names = ("blob", "filename", "purpose", "format", "expires_after")
    return {"event_id": None, "uploaded": {name: file[name] for name in names}}


def derived(
    subject: str, tenant: str, stage: str, inputs: Mapping[str, Any], ended: bool, ready: bool = True
) -> dict[str, Any]:
    """Return a control document made from the log; an ended thing's events are all in Kafka already."""
    return {
        **new_document(subject, tenant, stage, inputs, ready),
        "ended": ended,
        "touched_at": datetime.now(UTC),
    }
