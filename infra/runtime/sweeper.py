"""Erases what nobody will ask for again: what is out of time, blobs that no record knows, leftovers of jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from contracts.cancellation import pause
from contracts.documents.models import PUBLIC
from contracts.erasure import of_jobs
from contracts.events.completions import MOST_BYTES
from contracts.events.uploads import STAGE
from contracts.ports import Blobs, Controls, Emit, Requests, UnavailableError
from functions.erase_content import core
from functions.erase_content.handler import keep_models
from infra.adapters.mongo.documents import MongoDocuments
from infra.runtime.leases import publish_recorded

log = logging.getLogger("temper.sweeper")

EXPIRY_SECONDS = 60.0
SWEEP_SECONDS = 3600.0
SETTLE_SECONDS = 10.0
"""Between two looks at what nobody knows: a MongoDB that is being emptied shows it in the second."""
_AT_ONCE = 100
_BLOBS = 4
"""Of MOST_BYTES together, or less: what a response in the background was asked, what was answered, and its events."""


@dataclass
class Sweeper:
    """Looks after bytes from time to time; whatever it does may be done again, by any number of workers."""

    documents: MongoDocuments
    blobs: Blobs
    emit: Emit
    requests: Requests
    controls: Controls
    now: Callable[[], int]
    """In milliseconds."""
    settle: float = SETTLE_SECONDS
    settled: set[str] = field(default_factory=set)
    """Ended jobs of which only models were left at the last look."""

    async def run(self) -> None:
        """Expire each minute and sweep each hour until cancelled."""
        due = self.now() + int(EXPIRY_SECONDS * 1000)
        while True:
            await pause(EXPIRY_SECONDS)
            try:
                await self.expire()
                await self.expire_uploads()
                await self.expire_completions()
                if self.now() >= due:
                    await self.sweep()
                    due = self.now() + int(SWEEP_SECONDS * 1000)
            except UnavailableError as error:
                log.info("the sweeper waits: %s", error)
            except Exception:
                log.exception("a round failed; the next one starts afresh")

    async def expire(self) -> int:
        """Delete files whose time has come, unless a job that has not ended reads them; returns how many."""
        where = {"expires_at": {"$lte": self.now()}, "deleted": False}
        files = await self.documents.find("files", where, [("expires_at", 1)], _AT_ONCE)
        gone = 0
        for file in files:
            mine = {"tenant": file["tenant"]}
            made = await self.documents.find("files", {**mine, "source": file["id"], "deleted": False})
            using = [await self.documents.count("jobs", {**mine, "ended": False, **of_jobs(each["id"])})
                     for each in (*made, file)]  # fmt: skip
            if any(using):
                continue
            for each in (*made, file):  # what was re-curated of it goes before it
                await self.documents.apply(await self.emit(core.expired(each)))
                gone += 1
        return gone

    async def expire_uploads(self) -> int:
        """End uploads by parts that were not completed in their time, and erase their parts; returns how many."""
        where = {"status": "pending", "expires_at": {"$lte": self.now()}}
        found = await self.documents.find("uploads", where, [("expires_at", 1)], _AT_ONCE)
        for upload in found:
            await self.controls.open(upload["id"], upload["tenant"], STAGE, {}, ready=False)
            control = await self.controls.end(upload["id"], [core.out_of_time(upload)])
            await publish_recorded(control, self.controls, self.emit, self.documents)
            await self.blobs.delete(f"{upload['tenant']}/{upload['id']}/")
        return len(found)

    async def expire_completions(self) -> int:
        """Delete what is kept of completions whose time has come, and a tenant's oldest beyond its share."""
        gone = 0
        where: dict[str, Any] = {"expires_at": {"$lte": self.now()}, "deleted": False}
        while found := await self.documents.find("completions", where, [("expires_at", 1)], _AT_ONCE):
            gone += await self._forget(found, "expired")
        for tenant in await self.blobs.folders(""):
            while excess := await self._excess(tenant):
                where = {"tenant": tenant, "deleted": False, "over": True}  # what is being made is waited for
                oldest = await self.documents.find("completions", where, [("created_at", 1)], excess)
                if not oldest:
                    break
                gone += await self._forget(oldest, "crowded")
        return gone

    async def _forget(self, completions: Sequence[dict[str, Any]], reason: Literal["expired", "crowded"]) -> int:
        for each in completions:
            await self.documents.apply(await self.emit(core.ended_completion(each, reason)))
        return len(completions)

    async def _excess(self, tenant: str) -> int:
        """Return how many of a tenant's completions are to go now."""
        where = {"tenant": tenant, "deleted": False}  # as the index has it: this is asked each minute
        count = await self.documents.count("completions", where)
        if count > core.MOST_COMPLETIONS:
            return min(count - core.MOST_COMPLETIONS, _AT_ONCE)
        if count <= core.MOST_COMPLETION_BYTES // (_BLOBS * MOST_BYTES):
            return 0
        size = await self.documents.total("completions", "bytes", where)
        return min(count, _AT_ONCE) if size > core.MOST_COMPLETION_BYTES else 0

    async def sweep(self) -> int:
        """Erase what no record knows and nothing was added to for a day; returns of how many subjects.

        Nothing is erased while read models are rebuilt, or have been since the first look: what is not known then may
        be known soon.
        """
        await self.documents.check()
        found: list[tuple[str, str]] = []
        for tenant in await self.blobs.folders(""):
            for subject in await self.blobs.folders(f"{tenant}/") if tenant != PUBLIC else ():
                if await self._unknown(tenant, subject):
                    found.append((tenant, subject))
                else:
                    await self._leftovers(subject)
        if not found:
            return 0
        await pause(self.settle)
        return sum([await self._erase(tenant, subject) for tenant, subject in found])

    async def _unknown(self, tenant: str, subject: str) -> bool:
        model = core.read_model(subject)
        if model is None:
            return False
        view = await self.documents.get(model, subject)
        return view is None or view["tenant"] != tenant or bool(view.get("deleted"))

    async def _erase(self, tenant: str, subject: str) -> bool:
        """Erase the blobs of a subject that are old, if it is unknown still, and no retry of an upload may adopt them.

        Only what was listed goes, and the record is looked for after that: what came in between stays.
        """
        listed = [stat async for stat in self.blobs.walk(f"{tenant}/{subject}/")]
        if not listed or not core.is_old(max(stat.modified for stat in listed), self.now()):
            return False
        if await self.requests.reserved(subject) or not await self._unknown(tenant, subject):
            return False
        await self.documents.check()
        size = sum(stat.bytes for stat in listed)
        log.warning("%s/%s: no record knows its %d blobs (%d bytes); erased", tenant, subject, len(listed), size)
        await self.blobs.remove([stat.key for stat in listed])
        return True

    async def _leftovers(self, subject: str) -> None:
        """Let a job's checkpoints go that a trainer stored while its job ended, or an older version left."""
        if core.read_model(subject) != "jobs" or subject in self.settled:
            return
        job = await self.documents.get("jobs", subject)
        if job is not None and job["ended"] and core.is_old(job["finished_at"], self.now()):
            await keep_models(job, self.documents, self.blobs)
            self.settled.add(subject)
