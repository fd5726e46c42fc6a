"""Generations of the read models: every build has collections of its own, and readers see a whole one alone.

`meta` holds a document for each version of the code that folds, and one that says which log was folded.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo import IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from contracts.cancellation import pause
from contracts.canonical import compact, sha256
from contracts.documents import READ_MODELS
from contracts.ports import UnavailableError
from infra.adapters.kafka import LogState, Place
from infra.adapters.mongo.connection import Database, transient_errors

ABANDONED_SECONDS = 10.0
"""A generation that nobody has touched for this long has no builder, or no follower, any more."""
TOUCH_SECONDS = 2.0
DECIDE = "Nothing is rebuilt or erased. Bring the right Kafka back, or see what `temper replay accept` would lose."
_LOG = "log"
_ALL: dict[str, Any] = {"_id": {"$regex": "^generation"}}


@dataclass(frozen=True, slots=True)
class ReadGeneration:
    """One build of the read models."""

    id: str
    complete: bool
    positions: Mapping[Place, int]
    """The next offset to fold."""
    goal: Mapping[Place, int]
    """Where the log ended when somebody began to follow it: nothing is believed before that is folded."""
    follower: str | None
    turn: int
    """How often the positions were written; less than what its follower remembers: MongoDB was put back."""
    log: str | None
    """Which log was folded; another one when a person has accepted another log."""
    wrong: str | None
    """Why the log is not that one any more."""

    @property
    def current(self) -> bool:
        """Whether it is whole, has folded what it had to, and is of the log that is there."""
        return self.complete and self.wrong is None and reached(self.positions, self.goal)


def reached(positions: Mapping[Place, int], goal: Mapping[Place, int]) -> bool:
    """Whether everything before `goal` is folded."""
    return all(positions.get(place, 0) >= offset for place, offset in goal.items())


def code_versions() -> dict[str, int]:
    """Return the version of each read model as this code folds it."""
    return {model.name: model.version for model in READ_MODELS.values()}


def _key() -> str:
    """Return where this code's generation is: code of other versions has its own, so that neither ousts the other."""
    return f"generation/{sha256(compact(code_versions()))[:12]}"


def _stale() -> dict[str, Any]:
    return {"$lt": ["$touched_at", {"$subtract": ["$$NOW", int(ABANDONED_SECONDS * 1000)]}]}


async def read_generation(db: Database) -> ReadGeneration | None:
    """Return this code's generation, or None when there is none (MongoDB was lost, or is new)."""
    key = _key()
    with transient_errors():
        found = {each["_id"]: each async for each in db.meta.find({"_id": {"$in": [key, _LOG]}})}
    return _generation(found[key], found.get(_LOG, {})) if key in found else None


def _generation(found: Mapping[str, Any], log: Mapping[str, Any]) -> ReadGeneration:
    return ReadGeneration(
        id=found["id"],
        complete=found["complete"],
        positions=_places(found["positions"]),
        goal=_places(found.get("goal", ())),
        follower=found.get("follower"),
        turn=found.get("turn", 0),
        log=log.get("id"),
        wrong=log.get("wrong"),
    )


class Builds:
    """Beginning, completing and following generations."""

    def __init__(self, db: Database) -> None:
        self.database = db
        self._meta = db.meta

    async def begin(self, id: str) -> bool:
        """Insert a generation; False while somebody else builds one or has built it."""
        fresh = {"id": id, "versions": code_versions(), "positions": [], "goal": [], "complete": False, "turn": 0}
        with transient_errors():
            await self._meta.delete_one({"_id": _key(), "complete": False, "$expr": _stale()})
            try:
                await self._meta.insert_one({"_id": _key(), **fresh, "touched_at": datetime.now(UTC)})
            except DuplicateKeyError:
                return False
        return True

    async def prepare(self, id: str) -> None:
        """Create a generation's collections with their indexes; it takes seconds, so the builder is seen meanwhile."""
        for model in READ_MODELS.values():
            keys = [
                [(f"view.{field.lstrip('-')}", -1 if field.startswith("-") else 1) for field in fields]
                for fields in model.indexes
            ]
            if keys:
                with transient_errors():
                    await self.database[f"{model.name}@{id}"].create_indexes([IndexModel(each) for each in keys])

    async def complete(self, id: str, positions: Mapping[Place, int], follower: str | None = None) -> int | None:
        """Let readers see generation `id`, folded up to `positions`, and return its follower's next turn.

        None when it is no longer being built.
        """
        change = {"complete": True, "positions": _entries(positions), "follower": follower}
        found = await self._changed({"id": id, "complete": False}, change)
        return found.turn if found else None

    async def abandon(self, id: str) -> None:
        """Forget a build that did not come to its end."""
        with transient_errors():
            await self._meta.delete_one({"_id": _key(), "id": id, "complete": False})
        await self.sweep()

    async def follow(self, id: str, follower: str, goal: Mapping[Place, int]) -> ReadGeneration | None:
        """Take generation `id` over from whoever follows it; None when it is gone."""
        return await self._changed({"id": id, "complete": True}, {"follower": follower, "goal": _entries(goal)})

    async def advance(self, id: str, follower: str, turn: int, positions: Mapping[Place, int]) -> int | None:
        """Record how far `follower` has folded and return its next turn; None when it is no longer its turn."""
        mine = {"id": id, "complete": True, "follower": follower, "turn": turn}
        found = await self._changed(mine, {"positions": _entries(positions)})
        return found.turn if found else None

    async def _changed(self, which: Mapping[str, Any], changes: Mapping[str, Any]) -> ReadGeneration | None:
        literal = {name: {"$literal": value} for name, value in changes.items()}
        change = {**literal, "turn": {"$add": ["$turn", 1]}, "touched_at": "$$NOW"}
        with transient_errors():
            found = await self._meta.find_one_and_update(
                {"_id": _key(), **which}, [{"$set": change}], return_document=ReturnDocument.AFTER
            )
        return _generation(found, {}) if found else None

    async def keep(self, id: str, follower: str | None = None) -> None:
        """Touch a generation, as its builder or its follower, until it is no longer ours: a slow step is no death."""
        mine = {"_id": _key(), "id": id, "complete": follower is not None, "follower": follower}
        while True:
            await pause(TOUCH_SECONDS)
            try:
                with transient_errors():
                    touched = await self._meta.update_one(mine, [{"$set": {"touched_at": "$$NOW"}}])
            except UnavailableError:
                continue  # nobody else can take it over either
            if not touched.matched_count:
                return

    async def deserted(self, id: str) -> bool:
        """Whether nobody has touched generation `id` for a while."""
        with transient_errors():
            return await self._meta.find_one({"_id": _key(), "id": id, "$expr": _stale()}, {"_id": 1}) is not None

    async def sweep(self) -> None:
        """Drop the collections of generations that are gone, and those of other versions that nobody follows."""
        with transient_errors():
            names = await self.database.list_collection_names()  # first: a build inserts its document before them
            await self._meta.delete_many({"$and": [_ALL, {"_id": {"$ne": _key()}, "$expr": _stale()}]})
            kept = {"" if each["_id"] == "generation" else each["id"] async for each in self._meta.find(_ALL)}
            for name in names:
                model, _, id = name.partition("@")
                if (model in READ_MODELS and id not in kept) or (id and id not in kept):
                    await self.database.drop_collection(name)

    async def check(self, log: LogState) -> str | None:
        """Return why the log is not the one that was folded; readers are told too, and nothing is built meanwhile."""
        with transient_errors():
            pin = await self._meta.find_one({"_id": _LOG})
            if pin is None:
                pin = {"id": uuid.uuid4().hex, "cluster": None, "beginnings": [], "wrong": None}
                await self._meta.update_one({"_id": _LOG}, {"$setOnInsert": pin}, upsert=True)
            folded: dict[Place, int] = {}
            async for each in self._meta.find(_ALL):
                for place, offset in _places(each["positions"]).items():
                    folded[place] = max(offset, folded.get(place, 0))
            wrong = difference(log, pin["cluster"], _places(pin["beginnings"]), folded)
            now = {"wrong": wrong, "cluster": pin["cluster"] if wrong else log.cluster}
            if any(pin[name] != value for name, value in now.items()):
                await self._meta.update_one({"_id": _LOG, "id": pin["id"]}, {"$set": now})
        return wrong

    async def accept(self, log: LogState) -> None:
        """Forget every generation and hold `log` to be the right one from now on, as it begins now."""
        pin = {"id": uuid.uuid4().hex, "cluster": log.cluster, "beginnings": _entries(log.beginnings), "wrong": None}
        with transient_errors():
            await self._meta.delete_many(_ALL)
            await self.database.drop_collection("controls")  # they are derived again, from what this log says
            await self._meta.replace_one({"_id": _LOG}, pin, upsert=True)


def difference(
    log: LogState, cluster: str | None, beginnings: Mapping[Place, int], folded: Mapping[Place, int]
) -> str | None:
    """Say in what `log` is not the one that was pinned and folded, None when it is."""
    if cluster is not None and log.cluster is not None and log.cluster != cluster:
        return f"Kafka is another cluster, {log.cluster}; the log that was folded is in {cluster}"
    for place, begins in sorted(log.beginnings.items()):
        if begins > beginnings.get(place, 0):
            return f"the log's beginning is gone: partition {place[1]} of {place[0]} begins at offset {begins}"
    for place, offset in sorted(folded.items()):
        ends = log.ends.get(place, 0)
        if ends < offset:
            return f"the log is shorter than it was: partition {place[1]} of {place[0]} ends at {ends}, before {offset}"
    return None


def _entries(places: Mapping[Place, int]) -> list[dict[str, Any]]:
    # Topic names hold dots, so they are values and not field names.
    nested: dict[str, dict[str, int]] = {}
    for (topic, partition), offset in sorted(places.items()):
        nested.setdefault(topic, {})[str(partition)] = offset
    return [{"topic": topic, "offsets": offsets} for topic, offsets in nested.items()]


def _places(entries: Iterable[Mapping[str, Any]]) -> dict[Place, int]:
    return {
        (entry["topic"], int(partition)): offset for entry in entries for partition, offset in entry["offsets"].items()
    }
