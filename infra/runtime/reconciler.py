"""The reconciler: whatever was begun and not brought to its end by a dead process is taken up again, item by item."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from contracts.cancellation import pause
from contracts.controls import Claim, Control
from contracts.documents import View
from contracts.function import Unfinished
from contracts.ports import AbandonedError, Emit, UnavailableError
from functions.control_job.core import at_rest
from functions.control_job.recovery import control_of
from infra.adapters.mongo.controls import MongoControls, new_document
from infra.adapters.mongo.documents import MongoDocuments
from infra.runtime.claims import behind
from infra.runtime.dispatch import Retake
from infra.runtime.functions import declared, stages
from infra.runtime.giving_up import GiveUp
from infra.runtime.leases import publish_recorded

log = logging.getLogger("temper.reconciler")

ROUND_SECONDS = 2.0
SETTLED_SECONDS = 5.0
"""Younger things are left alone: somebody is most likely at them."""
AFTER_LOSS_SECONDS = 30.0
"""Leases from before a loss of MongoDB have run out after this."""
ITEM_SECONDS = 60.0
"""What takes longer waits for a server that is slow, and others need not."""
MAX_TRIES = 5
"""Rounds in which a thing crashes before it ends."""
_AT_ONCE = 500
_EVERYBODYS = ("kafka", "mongo")
"""Without these nothing can be taken up."""


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Compares read models with control documents and repairs what differs."""

    documents: MongoDocuments
    controls: MongoControls
    emit: Emit
    now: Callable[[], int]
    retakes: Mapping[str, Sequence[Retake]] = field(default_factory=dict)
    """By read model: what takes the next steps of an unfinished document; those of this process's functions."""
    functions: Collection[str] | None = None
    """Names of this process's functions: what others speak for is left to them; None: all."""
    looked: dict[str, int] = field(default_factory=dict)
    """Thing that is not looked at in each round → when it was, in milliseconds."""
    crashes: dict[str, int] = field(default_factory=dict)
    """Thing → rounds in a row in which it crashed."""

    async def run(self) -> None:
        """Do a round every two seconds until cancelled."""
        while True:
            await pause(ROUND_SECONDS)
            try:
                await self.reconcile()
            except UnavailableError as error:
                log.info("the reconciler waits: %s", error)
            except Exception:
                log.exception("a round failed; the next one starts afresh")

    async def reconcile(self) -> int:
        """Do one round; returns how many things had to be taken up. Raises UnavailableError."""
        await self.documents.check()  # or what is owed would be said to another log
        taken = 0
        owed = await self.controls.unpublished(SETTLED_SECONDS) if self._is_mine("project_documents") else []
        for subject in owed:
            taken += await self._one(subject, self._say(subject), partial(self._replace_unemitted, subject))
        for function in declared().values():
            kind = function.unfinished
            # an archive goes through several functions, each of which takes its own steps where it runs
            if kind is not None and (self._is_mine(function.name) or (not kind.control and kind.model in self.retakes)):
                taken += await self._kind(kind)
        return taken

    def _is_mine(self, function: str) -> bool:
        return self.functions is None or function in self.functions

    async def _kind(self, kind: Unfinished) -> int:
        """Do one round over the unfinished things of one kind."""
        settled = {"created_at": {"$lt": self.now() - int(SETTLED_SECONDS * 1000)}}
        taken, seen = 0, set()
        async for view in self.documents.each(kind.model, kind.where if kind.every else {**kind.where, **settled}):
            seen.add(view["id"])
            taken += await self._one(view["id"], self._take_up(kind, view), partial(self._give_up, kind, view))
        if kind.every:
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
            events = stages()[control.stage].exhausted(claim, "what came of it cannot be said in an event")
            await self._publish(await self.controls.replace_unemitted(control, events))

    async def _give_up(self, kind: Unfinished, view: View) -> None:
        stage, id = kind.given_up, view["id"]
        inputs = {"event_id": None, "archive": id}
        why = "it crashed whenever it was taken up"
        await GiveUp(self.controls, self._publish)(stage, id + stages()[stage].suffix, view["tenant"], inputs, why)

    async def _take_up(self, kind: Unfinished, view: View) -> bool:
        if not kind.control:
            if self.now() - int(self.looked.get(view["id"]) or view["created_at"]) >= kind.every * 1000:
                self.looked[view["id"]] = self.now()
                await self._retake(kind.model, view)
            return False
        control = await self.controls.get(view["id"])
        if kind.model == "jobs":
            return await self._job(view, control)
        if control is not None:
            return control.ended and await self._again(control)
        if kind.inputs is not None:
            await self.controls.open(view["id"], view["tenant"], kind.given_up, kind.inputs(view))
        return await self._retake(kind.model, view) or kind.inputs is not None

    async def _retake(self, model: str, view: View) -> bool:
        """Let every function of this process take the step that is its own; whether there was one."""
        for retake in self.retakes.get(model, ()):
            with suppress(AbandonedError):  # it was deleted meanwhile
                await retake(view)
        return bool(self.retakes.get(model))

    async def _job(self, job: View, control: Control | None) -> bool:
        if job["status"] == "validating_files" and (control is None or control.stage == "prepare"):
            if control is not None and control.ended:
                return await self._again(control)
            await self._retake("jobs", job)
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
        for model in dict.fromkeys(stage.model for stage in stages().values()):
            found: list[dict[str, Any]] = []
            async for view in self.documents.each(model, {}):
                found += [await self._derived(view)] if model == "jobs" else _ended(model, view)
                restored, found = await self._restored(restored, found, _AT_ONCE)
            restored, _ = await self._restored(restored, found)
        for function in declared().values():
            kind = function.unfinished
            if kind is not None and kind.inputs is not None:
                found = []
                async for view in self.documents.each(kind.model, kind.where):
                    found.append(derived(view["id"], view["tenant"], kind.given_up, kind.inputs(view)))
                    restored, found = await self._restored(restored, found, _AT_ONCE)
                restored, _ = await self._restored(restored, found)
        if restored:
            await self.controls.hold_claims(AFTER_LOSS_SECONDS)
        return restored

    async def _restored(
        self, so_far: int, found: list[dict[str, Any]], at_once: int = 1
    ) -> tuple[int, list[dict[str, Any]]]:
        """Insert what was `found` once it is `at_once` many; return how many were restored, and what is left."""
        return (so_far + await self.controls.restore(found), []) if len(found) >= at_once else (so_far, found)

    async def _derived(self, job: View) -> dict[str, Any]:
        mine = {"job": job["id"]}
        checkpoints = [] if job["ended"] else await self.documents.find("job_checkpoints", mine, sort=[("step", 1)])
        fields = control_of(job, checkpoints)
        return {**derived(job["id"], job["tenant"], fields.pop("stage"), fields.pop("inputs")), **fields}


def _ended(model: str, view: View) -> list[dict[str, Any]]:
    """Return the control documents of the stages that are over for a thing that is worked on in several."""
    return [
        derived(view["id"] + stage.suffix, view["tenant"], stage.name, {}, ended=True)
        for stage in stages().values()
        if stage.model == model and stage.over(view)
    ]


def derived(subject: str, tenant: str, stage: str, inputs: Mapping[str, Any], ended: bool = False) -> dict[str, Any]:
    """Return a control document made from the log; an ended thing's events are all in Kafka already."""
    return {**new_document(subject, tenant, stage, inputs, True), "ended": ended, "touched_at": datetime.now(UTC)}
