"""MongoDB: control documents. A lease is taken by one atomic update with the server's clock."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import BulkWriteError, DuplicateKeyError

from contracts.controls import KEPT_CHECKPOINTS, LEASE_SECONDS, Checkpoint, Claim, Control
from contracts.envelope import Event, PoisonError
from contracts.manifest import ManifestRef
from contracts.ports import LostLeaseError, RebuildingError
from infra.adapters.mongo.connection import Database, transient_errors
from infra.adapters.mongo.event_text import decode_event, encode_event
from infra.adapters.mongo.rebuild_gate import Readiness

KEPT_REQUESTS = 64
_NEVER = datetime.fromtimestamp(0, UTC)
_CLAIMABLE = {
    "ready": True,
    "ended": False,
    "desired": "run",
    "$expr": {"$and": [{"$lt": ["$expires_at", "$$NOW"]}, {"$lt": ["$not_before", "$$NOW"]}]},
}


def _control(found: Mapping[str, Any]) -> Control:
    return Control(
        subject=found["_id"],
        tenant=found["tenant"],
        stage=found["stage"],
        ready=found["ready"],
        epoch=found["epoch"],
        desired=found["desired"],
        fence=found["fence"],
        attempts=found["attempts"],
        holder=found["holder"],
        live=found["nonce"] is not None and found["expires_at"].replace(tzinfo=UTC) > datetime.now(UTC),
        opened_at=int(found["opened_at"].replace(tzinfo=UTC).timestamp() * 1000),
        inputs=json.loads(found["inputs"]),
        recorded={entry["name"]: json.loads(entry["value"]) for entry in found["recorded"]},
        checkpoints=tuple(
            Checkpoint(
                step=each["step"],
                manifest=ManifestRef(**each["manifest"]),
                epoch_end=each["epoch_end"],
                fence=each["fence"],
            )
            for each in found["checkpoints"]
        ),
        ended=found["ended"],
        events=tuple(decode_event(text) for text in found["events"]),
        published=found["published"],
        waits=found.get("waits", 0),
        why=found.get("why", ""),
    )


def new_document(subject: str, tenant: str, stage: str, inputs: Mapping[str, Any], ready: bool) -> dict[str, Any]:
    """Return a fresh control document; free text is kept as JSON text, which no field name can break."""
    return {
        "_id": subject,
        "tenant": tenant,
        "stage": stage,
        "ready": ready,
        "epoch": 1,
        "desired": "run",
        "requests": [],
        "fence": 0,
        "nonce": None,
        "holder": None,
        "expires_at": _NEVER,
        "not_before": _NEVER,
        "attempts": 0,
        "opened_at": datetime.now(UTC),
        "inputs": json.dumps(inputs),
        "recorded": [],
        "checkpoints": [],
        "ended": False,
        "events": [],
        "owed": False,
        "published": 0,
    }


class MongoControls:
    """The Controls port."""

    def __init__(self, db: Database, readiness: Readiness | None = None) -> None:
        self._db = db
        self._readiness = readiness or Readiness(db)
        self._controls = db.controls
        self._claiming = asyncio.Lock()

    async def open(
        self, subject: str, tenant: str, stage: str, inputs: Mapping[str, Any], ready: bool = True
    ) -> Control:
        """Create the document unless it exists; an unready one of the same stage becomes ready with these inputs.

        Raises PoisonError for another tenant's.
        """
        with transient_errors():
            found = await self._controls.find_one({"_id": subject})
            if found is None:
                await self._readiness(look_again=True)
                try:
                    found = new_document(subject, tenant, stage, inputs, ready)
                    await self._controls.insert_one(found)
                    return _control(found)
                except DuplicateKeyError:
                    found = await self._controls.find_one({"_id": subject})
            if found is not None and found["tenant"] != tenant:
                raise PoisonError("foreign_subject", f"{subject} is not of tenant {tenant}")
            if found is not None and ready and not found["ready"] and found["stage"] == stage:
                found = await self._controls.find_one_and_update(
                    {"_id": subject, "stage": stage, "ready": False, "ended": False},
                    {"$set": {"ready": True, "inputs": json.dumps(inputs)}},
                    return_document=ReturnDocument.AFTER,
                ) or await self._controls.find_one({"_id": subject})
        if found is None:
            raise RebuildingError
        return _control(found)

    async def restore(self, documents: Sequence[Mapping[str, Any]]) -> int:
        """Insert control documents, at least one, derived from the log; those there stay. Returns how many."""
        try:
            with transient_errors():
                return len((await self._controls.insert_many(map(dict, documents), ordered=False)).inserted_ids)
        except BulkWriteError as error:
            if any(each["code"] != 11000 for each in error.details["writeErrors"]):
                raise
            return int(error.details["nInserted"])

    async def replace(self, old: Control, document: Mapping[str, Any]) -> bool:
        """Put one that was derived from the log in the place of an older one; False when that was changed meanwhile."""
        same = {"_id": old.subject, "fence": old.fence, "epoch": old.epoch, "ended": False}
        with transient_errors():
            done = await self._controls.replace_one(same, {**document, "fence": max(old.fence, document["fence"])})
        return done.matched_count == 1

    async def hold_claims(self, seconds: float) -> None:
        """Let nobody claim anything for `seconds`: leases from before a loss must have run out."""
        with transient_errors():
            await self._db.meta.update_one(
                {"_id": "claims"},
                [{"$set": {"after": {"$dateAdd": {"startDate": "$$NOW", "unit": "second", "amount": int(seconds)}}}}],
                upsert=True,
            )

    async def get(self, subject: str) -> Control | None:
        """Return one document, or None."""
        with transient_errors():
            found = await self._controls.find_one({"_id": subject})
        return _control(found) if found else None

    async def unpublished(self, seconds: float, limit: int = 100) -> list[str]:
        """Return the subjects with recorded events that are not known to be in Kafka, left alone for `seconds`."""
        old = {"$expr": {"$lt": ["$touched_at", {"$subtract": ["$$NOW", int(seconds * 1000)]}]}}
        with transient_errors():
            found = self._controls.find({"owed": True, **old}, {"_id": 1}, limit=limit).sort("touched_at", 1)
            return [each["_id"] async for each in found]

    async def postpone(self, subject: str) -> None:
        """Put a document at the end of those that are unpublished."""
        with transient_errors():
            await self._controls.update_one({"_id": subject}, {"$set": {"touched_at": datetime.now(UTC)}})

    async def unemitted(self, subject: str) -> Control | None:
        """Return one document without its recorded events, which may be unreadable."""
        with transient_errors():
            found = await self._controls.find_one({"_id": subject})
        return _control({**found, "events": []}) if found else None

    async def replace_unemitted(self, control: Control, events: Sequence[Event]) -> Control:
        """End a document with `events` in the place of recorded ones that nobody could publish."""
        ended = {"ended": True, "nonce": None, "holder": None, "published": 0, "owed": True}
        with transient_errors():
            found = await self._controls.find_one_and_update(
                {"_id": control.subject, "published": control.published},
                {"$set": {**ended, "events": [encode_event(each) for each in events]}},
                return_document=ReturnDocument.AFTER,
            )
        if found is None:
            raise LostLeaseError(f"{control.subject} was published meanwhile")
        return _control(found)

    async def claimable(self) -> set[str]:
        """Return the stages in which there is something to claim."""
        with transient_errors():
            found = await self._controls.aggregate([{"$match": _CLAIMABLE}, {"$group": {"_id": "$stage"}}])
            return {each["_id"] async for each in found}

    async def claim(self, stage: str, holder: str, per_tenant: int | None = None) -> Claim | None:
        """Take the lease of one claimable thing in `stage`: fence + 1, new nonce, 30 s to live.

        It is the oldest of a tenant that holds fewest of the stage; one that holds `per_tenant` of this holder's
        gets no more.
        """
        async with self._claiming:  # so that each claim of this process counts those before it
            return await self._claim(stage, holder, per_tenant)

    async def _claim(self, stage: str, holder: str, per_tenant: int | None) -> Claim | None:
        try:
            await self._readiness(look_again=True)
        except RebuildingError:
            return None
        nonce = secrets.token_hex(16)
        with transient_errors():
            held = await self._db.meta.find_one({"_id": "claims", "$expr": {"$gt": ["$after", "$$NOW"]}})
            if held is not None:
                return None
            claimable = {"stage": stage, **_CLAIMABLE}
            if await self._controls.find_one(claimable, {"_id": 1}) is None:
                return None
            taken = [
                {
                    "$set": {
                        "fence": {"$add": ["$fence", 1]},
                        "attempts": {"$add": ["$attempts", 1]},
                        "nonce": {"$literal": nonce},
                        "holder": {"$literal": holder},
                        "expires_at": _from_now(LEASE_SECONDS),
                    }
                }
            ]
            for passed_over in await self._turns(stage, holder, per_tenant):
                found = await self._controls.find_one_and_update(
                    {**claimable, "tenant": {"$nin": passed_over}},
                    taken,
                    sort=[("opened_at", 1)],
                    return_document=ReturnDocument.AFTER,
                )
                if found is not None:
                    control = _control(found)
                    return Claim(control=control, fence=control.fence, nonce=nonce)
        return None

    async def _turns(self, stage: str, holder: str, per_tenant: int | None) -> list[list[str]]:
        """Return whom to pass over in a first try, in a second, …: first all who hold leases of `stage`, last the full.

        Two processes may read the same counts; then a tenant gets a lease before its turn, and nothing else happens.
        """
        mine = {"$sum": {"$cond": [{"$eq": ["$holder", {"$literal": holder}]}, 1, 0]}}
        counted: list[dict[str, Any]] = [
            {"$match": {"stage": stage, "ended": False, "expires_at": {"$gt": _NEVER}}},  # whom the index finds
            {"$match": {"$expr": {"$gt": ["$expires_at", "$$NOW"]}}},
            {"$group": {"_id": "$tenant", "all": {"$sum": 1}, "mine": mine}},
        ]
        held = {each["_id"]: (each["all"], each["mine"]) async for each in await self._controls.aggregate(counted)}
        full = {tenant for tenant, (_, own) in held.items() if per_tenant is not None and own >= per_tenant}
        levels = [0, *sorted({count for count, _ in held.values()})]
        return [sorted(full | {tenant for tenant, (count, _) in held.items() if count > level}) for level in levels]

    async def _held(self, claim: Claim, update: Any, **also: Any) -> Control:
        with transient_errors():
            found = await self._controls.find_one_and_update(
                {"_id": claim.subject, "fence": claim.fence, "nonce": claim.nonce, "ended": False, **also},
                update,
                return_document=ReturnDocument.AFTER,
            )
        if found is None:
            raise LostLeaseError(f"the lease {claim.fence} of {claim.subject} is lost")
        return _control(found)

    async def heartbeat(self, claim: Claim) -> Control:
        """Renew the lease and return the document; raises LostLeaseError (also when there is an outcome)."""
        return await self._held(claim, [{"$set": {"expires_at": _from_now(LEASE_SECONDS)}}])

    async def release(self, claim: Claim, retry_after: float = 0, forgive: bool = False, why: str = "") -> None:
        """Give the lease back; nobody claims it for `retry_after` seconds.

        `forgive` does not count the attempt; with a `why` it is counted among `waits`.
        """
        changes: dict[str, Any] = {"nonce": None, "holder": None, "expires_at": _NEVER}
        changes |= {"not_before": _from_now(retry_after), "why": {"$literal": why}, "waits": 0}
        if forgive:
            changes["attempts"] = {"$max": [0, {"$subtract": ["$attempts", 1]}]}
        if forgive and why:
            changes["waits"] = {"$add": [{"$ifNull": ["$waits", 0]}, 1]}
        await self._held(claim, [{"$set": changes}])

    async def record(self, claim: Claim, name: str, value: Any) -> Any:
        """Record an input once and return what is recorded: the first value wins; raises LostLeaseError."""
        try:
            entry = {"name": name, "value": json.dumps(value)}
            control = await self._held(claim, {"$push": {"recorded": entry}}, **{"recorded.name": {"$ne": name}})
        except LostLeaseError:
            control = await self.heartbeat(claim)
        return control.recorded[name]

    async def checkpoint(self, claim: Claim, checkpoint: Checkpoint) -> None:
        """Make a checkpoint visible: only with the lease, only forward; a new step forgives earlier attempts.

        The same one again is success: who did not hear that it is there repeats it.
        """
        entry = {
            "step": checkpoint.step,
            "manifest": checkpoint.manifest.model_dump(),
            "epoch_end": checkpoint.epoch_end,
            "fence": checkpoint.fence,
        }
        forward = {"checkpoints.step": {"$not": {"$gte": checkpoint.step}}}
        try:
            known = {"$concatArrays": ["$checkpoints", [{"$literal": entry}]]}
            kept = {
                "$concatArrays": [_newest(known, {"$not": ["$$this.epoch_end"]}), _newest(known, "$$this.epoch_end")]
            }
            await self._held(claim, [{"$set": {"checkpoints": kept, "attempts": 0, "waits": 0}}], **forward)
        except LostLeaseError:
            if checkpoint not in (await self.heartbeat(claim)).checkpoints:
                raise

    async def drop_checkpoint(self, claim: Claim, step: int) -> None:
        """Forget a checkpoint that turned out to be unreadable."""
        await self._held(claim, {"$pull": {"checkpoints": {"step": step}}})

    async def advance(self, claim: Claim, stage: str, inputs: Mapping[str, Any], events: Sequence[Event]) -> None:
        """Move to the next stage, recording the events that say so; gives the lease back.

        Where these events are recorded already, nothing happens.
        """
        said = [encode_event(event) for event in events]
        changes: dict[str, Any] = {
            "stage": stage,
            "inputs": json.dumps(inputs),
            "recorded": [],
            "attempts": 0,
            "waits": 0,
            "nonce": None,
            "holder": None,
            "expires_at": _NEVER,
            "touched_at": datetime.now(UTC),
            **({"owed": True} if events else {}),
        }
        try:
            await self._held(claim, {"$set": changes, "$push": {"events": {"$each": said}}})
        except LostLeaseError:
            with transient_errors():
                if await self._controls.find_one({"_id": claim.subject, "events": {"$all": said}}) is None:
                    raise

    async def desire(self, subject: str, desired: str, request: str) -> Control | None:
        """Open a new epoch with this desire, once per request id; None when nothing is there or it has ended."""
        opened = {"id": {"$literal": request}, "epoch": {"$add": ["$epoch", 1]}}
        with transient_errors():
            await self._controls.update_one(
                {"_id": subject, "ended": False, "requests.id": {"$ne": request}},
                [
                    {
                        "$set": {
                            "epoch": {"$add": ["$epoch", 1]},
                            "desired": {"$literal": desired},
                            "attempts": 0,
                            "waits": 0,
                            "requests": {"$slice": [{"$concatArrays": ["$requests", [opened]]}, -KEPT_REQUESTS]},
                        }
                    }
                ],
            )
            found = await self._controls.find_one({"_id": subject, "ended": False, "requests.id": request})
        if found is None:
            return None
        epoch = next(each["epoch"] for each in found["requests"] if each["id"] == request)
        return replace(_control(found), epoch=epoch)

    async def end(self, subject: str, events: Sequence[Event], claim: Claim | None = None) -> Control:
        """Record the final events unless an outcome is there; return the document with whichever outcome won."""
        which: dict[str, Any] = {"_id": subject, "ended": False}
        if claim is not None:
            which |= {"fence": claim.fence, "nonce": claim.nonce}
        changes = {"ended": True, "nonce": None, "holder": None, "touched_at": datetime.now(UTC)}
        with transient_errors():
            found = await self._controls.find_one_and_update(
                which,
                {
                    "$set": {**changes, **({"owed": True} if events else {})},
                    "$push": {"events": {"$each": [encode_event(event) for event in events]}},
                },
                return_document=ReturnDocument.AFTER,
            ) or await self._controls.find_one({"_id": subject})
        if found is None or not found["ended"]:
            raise LostLeaseError(f"{subject} is held by somebody else")
        return _control(found)

    async def published(self, subject: str, count: int) -> None:
        """Say that the first `count` recorded events are in Kafka; of what has ended only those events stay."""
        over = {"$and": ["$ended", {"$not": ["$owed"]}]}
        emptied = {name: {"$cond": [over, [], f"${name}"]} for name in ("recorded", "checkpoints", "requests")}
        said: list[dict[str, Any]] = [
            {"$set": {"published": {"$max": ["$published", count]}}},
            {"$set": {"owed": {"$gt": [{"$size": "$events"}, "$published"]}}},
            {"$set": {**emptied, "inputs": {"$cond": [over, "{}", "$inputs"]}}},
        ]
        with transient_errors():
            await self._controls.update_one({"_id": subject}, said)


async def ensure_indexes(db: Database) -> None:
    """Create the indexes of control documents; safe to repeat."""
    owes = {"$gt": [{"$size": "$events"}, "$published"]}
    with transient_errors():
        await db.controls.update_many({"owed": {"$exists": False}}, [{"$set": {"owed": owes}}])  # of older versions
        await db.controls.create_index([("ended", 1), ("stage", 1), ("expires_at", 1)])
        unended = {"ended": False}
        by_age = [("ended", 1), ("stage", 1), ("opened_at", 1)]
        await db.controls.create_index(by_age, partialFilterExpression=unended)
        await db.controls.create_index([("owed", 1), ("touched_at", 1)], partialFilterExpression={"owed": True})
        await db.requests.create_index([("tenant", 1), ("route", 1), ("body", 1), ("at", -1)])
        await db.requests.create_index([("id", 1)])
        await db.requests.create_index([("at", 1)], expireAfterSeconds=7 * 86400)
        await db.heartbeats.create_index([("at", 1)], expireAfterSeconds=3600)  # of processes that were killed


def _from_now(seconds: float) -> dict[str, Any]:
    amount = int(seconds * 1000)
    return {"$dateAdd": {"startDate": "$$NOW", "unit": "millisecond", "amount": amount}}


def _newest(checkpoints: Any, cond: Any) -> dict[str, Any]:
    return {"$slice": [{"$filter": {"input": checkpoints, "cond": cond}}, -KEPT_CHECKPOINTS]}
