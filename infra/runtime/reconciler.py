"""The reconciler: whatever was begun and not brought to its end by a dead process is taken up again, item by item."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from contracts.controls import Claim, Control
from contracts.documents import View
from contracts.ports import Emit, UnavailableError
from functions.assemble_dataset import handler as assembly
from functions.benchmark_model import handler as benchmarking
from functions.control_job.core import at_rest
from functions.prepare_job import handler as preparation
from functions.validate_file import handler as validation
from infra.adapters.mongo.controls import KEPT_CHECKPOINTS, MongoControls, new_document
from infra.adapters.mongo.documents import MongoDocuments
from infra.runtime.claims import behind
from infra.runtime.leases import publish_recorded
from infra.runtime.stages import STAGES, GiveUp

log = logging.getLogger("temper.reconciler")

SETTLED_SECONDS = 5.0
"""Younger things are left alone: somebody is most likely at them."""
AFTER_LOSS_SECONDS = 30.0
"""Leases from before a loss of MongoDB have run out after this."""
UNFINISHED = ("validating_files", "queued", "running", "paused")
LOOK_SECONDS = 20.0
"""An archive of thousands of documents is not looked at more often than this."""
ITEM_SECONDS = 60.0
"""What takes longer waits for a server that is slow, and others need not."""
MAX_TRIES = 5
"""Rounds in which a thing crashes before it ends."""
GIVEN_UP = {
    "files": validation.STAGE,
    "archives": assembly.STAGE,
    "jobs": preparation.STAGE,
    "benchmarks": benchmarking.STAGE,
}
"""Read model → the stage that speaks for one of its documents that is given up."""
_AT_ONCE = 500
_EVERYBODYS = ("kafka", "mongo")
"""Without these nothing can be taken up."""

Reconsider = Callable[[View], Awaitable[None]]
"""Takes the steps that a thing's state allows once more: its function's own handler."""


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Compares read models with control documents and repairs what differs."""

    documents: MongoDocuments
    controls: MongoControls
    emit: Emit
    now: Callable[[], int]
    reconsider: Mapping[str, Reconsider] = field(default_factory=dict)
    """By read model: `archives`, `jobs` (those in `validating_files`), `benchmarks`."""
    looked: dict[str, int] = field(default_factory=dict)
    """Archive → when it was looked at last, in milliseconds."""
    crashes: dict[str, int] = field(default_factory=dict)
    """Thing → rounds in a row in which it crashed."""

    async def reconcile(self) -> int:
        """Do one round; returns how many things had to be taken up. Raises UnavailableError."""
        await self.documents.check()  # or what is owed would be said to another log
        taken = 0
        for subject in await self.controls.unpublished(SETTLED_SECONDS):
            taken += await self._one(subject, self._say(subject), partial(self._replace_unemitted, subject))
        settled = {"created_at": {"$lt": self.now() - int(SETTLED_SECONDS * 1000)}}
        rounds: tuple[tuple[str, View, Callable[[View], Awaitable[bool]]], ...] = (
            ("files", {"status": "uploaded", "deleted": False, "archive": False, **settled}, self._file),
            ("archives", {"unfinished": True}, self._archive),
            ("jobs", {"status": {"$in": list(UNFINISHED)}, **settled}, self._job),
            ("benchmarks", {"ended": False, **settled}, self._benchmark),
        )
        for model, unfinished, take_up in rounds:
            seen = set()
            async for view in self.documents.each(model, unfinished):
                seen.add(view["id"])
                taken += await self._one(view["id"], take_up(view), partial(self._give_up, model, view))
            if model == "archives":
                for ended in self.looked.keys() - seen:
                    del self.looked[ended]
        return taken

    async def _one(self, name: str, taking: Awaitable[bool], give_up: Callable[[], Awaitable[None]]) -> bool:
        """Take one thing up; one that crashes keeps no other waiting, and ends when it does so again and again."""
        try:
            async with asyncio.timeout(ITEM_SECONDS):
                taken = await taking
                self.crashes.pop(name, None)
                return taken
        except (UnavailableError, TimeoutError) as error:
            if isinstance(error, UnavailableError) and error.dependency in _EVERYBODYS:
                raise
            log.info("%s waits: %r", name, error)
        except Exception:
            self.crashes[name] = self.crashes.get(name, 0) + 1
            log.exception("%s could not be taken up, %d times in a row", name, self.crashes[name])
            if self.crashes[name] >= MAX_TRIES:
                await self._end(name, give_up)
        return False

    async def _end(self, name: str, give_up: Callable[[], Awaitable[None]]) -> None:
        try:
            await give_up()
            del self.crashes[name]
        except UnavailableError as error:
            log.info("%s waits for its end: %s", name, error)
        except Exception:
            log.exception("%s could not be ended either", name)

    async def _say(self, subject: str) -> bool:
        """Publish what was decided; whoever fails at it goes to the end of the line first."""
        log.warning("%s: publishing what was decided and not yet said", subject)
        await self.controls.postpone(subject)
        control = await self.controls.get(subject)
        if control is not None:
            await self._publish(control)
        return control is not None

    async def _publish(self, control: Control) -> None:
        await publish_recorded(control, self.controls, self.emit, self.documents)

    async def _replace_unemitted(self, subject: str) -> None:
        """End what was decided and can never be said as its stage ends what cannot be done."""
        control = await self.controls.unemitted(subject)
        if control is not None:
            claim = Claim(control, control.fence, "")
            events = STAGES[control.stage].exhausted(claim, "what came of it cannot be said in an event")
            await self._publish(await self.controls.replace_unemitted(control, events))

    async def _give_up(self, model: str, view: View) -> None:
        stage, id = GIVEN_UP[model], view["id"]
        inputs = {"event_id": None, "archive": id}
        why = "it crashed whenever it was taken up"
        await GiveUp(self.controls, self._publish)(stage, id + STAGES[stage].suffix, view["tenant"], inputs, why)

    async def _archive(self, archive: View) -> bool:
        """Look at an archive that has no data set yet, after a while and then now and again."""
        if self.now() - int(self.looked.get(archive["id"]) or archive["created_at"]) >= LOOK_SECONDS * 1000:
            self.looked[archive["id"]] = self.now()
            await self.reconsider["archives"](archive)
        return False

    async def _benchmark(self, benchmark: View) -> bool:
        control = await self.controls.get(benchmark["id"])
        if control is not None:
            return control.ended and await self._again(control)
        await self.reconsider["benchmarks"](benchmark)
        return True

    async def _file(self, file: View) -> bool:
        control = await self.controls.get(file["id"])
        if control is None:
            await self.controls.open(file["id"], file["tenant"], validation.STAGE, validate_inputs(file))
            return True
        return control.ended and await self._again(control)

    async def _job(self, job: View) -> bool:
        control = await self.controls.get(job["id"])
        if job["status"] == "validating_files" and (control is None or control.stage == "prepare"):
            if control is not None and control.ended:
                return await self._again(control)
            await self.reconsider["jobs"](job)
            return False
        if control is None:
            return bool(await self.controls.restore([await self._derived(job)]))
        if not control.ended and behind(control, job, control.fence):
            log.warning("%s: its control document is older than the log", job["id"])
            await self.controls.hold_claims(AFTER_LOSS_SECONDS)
            return await self.controls.replace(control, await self._derived(job))
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
            return False  # the first part of the round has them
        for event in control.events:
            await self.documents.apply(await self.emit(event))
        return True

    async def restore(self) -> int:
        """Derive the control documents from the read models after MongoDB was lost; returns how many were missing.

        What is not over is opened by the next round, but for files and jobs, which another process may hold still.
        """
        restored = 0
        for model in dict.fromkeys(shown.model for shown in STAGES.values()):
            found: list[dict[str, Any]] = []
            async for view in self.documents.each(model, {}):
                found += [await self._derived(view)] if model == "jobs" else _ended(model, view)
                if model == "files" and view["status"] == "uploaded" and not (view["deleted"] or view["archive"]):
                    found.append(derived(view["id"], view["tenant"], validation.STAGE, validate_inputs(view)))
                if len(found) > _AT_ONCE:
                    restored, found = restored + await self.controls.restore(found), []
            restored += await self.controls.restore(found) if found else 0
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
        mine = {"job": job["id"]}
        checkpoints = [] if job["ended"] else await self.documents.find("job_checkpoints", mine, sort=[("step", 1)])
        visible = kept([each for each in checkpoints if not hidden(each, job["runs"])])
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


def _ended(model: str, view: View) -> list[dict[str, Any]]:
    """Return the control documents of the stages that are over for a thing that is worked on in several."""
    return [
        derived(view["id"] + shown.suffix, view["tenant"], stage, {}, ended=True)
        for stage, shown in STAGES.items()
        if shown.model == model and shown.over(view)
    ]


def kept(checkpoints: list[View]) -> list[View]:
    """Return those of `checkpoints`, oldest first, that a control document keeps: the newest of both kinds."""
    ends = [each for each in checkpoints if each["epoch_end"]][-KEPT_CHECKPOINTS:]
    others = [each for each in checkpoints if not each["epoch_end"]][-KEPT_CHECKPOINTS:]
    return [*others, *ends]


def hidden(item: Mapping[str, Any], runs: list[dict[str, Any]]) -> bool:
    """Whether a newer attempt started before this step, so that what an older one said of it no longer counts."""
    mine = (item["epoch"], item["attempt"])
    return any((run["epoch"], run["attempt"]) > mine and item["step"] > run["from_step"] for run in runs)


def validate_inputs(file: View) -> dict[str, Any]:
    """Return what validation needs, from the read model of a file."""
    names = ("blob", "filename", "purpose", "format", "expires_after")
    return {"event_id": None, "uploaded": {name: file[name] for name in names}}


def derived(
    subject: str, tenant: str, stage: str, inputs: Mapping[str, Any], ended: bool = False, ready: bool = True
) -> dict[str, Any]:
    """Return a control document made from the log; an ended thing's events are all in Kafka already."""
    return {
        **new_document(subject, tenant, stage, inputs, ready),
        "ended": ended,
        "touched_at": datetime.now(UTC),
    }
