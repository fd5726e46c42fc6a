"""MongoDB: read models replaced by compare-and-set, and the generation that says whether they are whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import InsertOne, ReplaceOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, DuplicateKeyError

from contracts.documents import READ_MODELS, ReadModel, Stored, View, fold, grouped, touched
from contracts.envelope import Event
from contracts.ports import RebuildingError, UnavailableError
from infra.adapters.mongo.connection import PLAIN, Database, connect, transient_errors
from infra.adapters.mongo.generations import Builds, ReadGeneration, read_generation
from infra.adapters.mongo.rebuild_gate import LOG, Readiness

__all__ = [
    "PLAIN",
    "Builds",
    "Database",
    "MongoDocuments",
    "ReadGeneration",
    "Readiness",
    "connect",
    "read_generation",
    "transient_errors",
    "wait_ready",
]
Collection = AsyncCollection[dict[str, Any]]
_PUT_BYTES = 4 * 2**20
_BATCH = 1000
"""Documents that one answer of MongoDB brings: sixteen megabytes, its own measure, take a busy server seconds."""


def _stored(found: Mapping[str, Any] | None) -> Stored | None:
    return Stored(facts=found["facts"], view=found["view"], etag=found["etag"]) if found else None


def _document(id: str, stored: Stored) -> dict[str, Any]:
    return {"_id": id, "facts": stored.facts, "view": stored.view, "etag": stored.etag}


def _prefixed(where: Any) -> Any:
    """Lift a filter over view fields to the stored document: names get `view.`, operators stay."""
    if isinstance(where, Mapping):
        return {
            (name if name.startswith("$") else f"view.{name}"): (_prefixed(value) if name.startswith("$") else value)
            for name, value in where.items()
        }
    if isinstance(where, list | tuple):
        return [_prefixed(part) for part in where]
    return where


class MongoDocuments:
    """The Documents port: of the generation that this process may believe, or of `generation`, whole or not."""

    def __init__(self, db: Database, readiness: Readiness | None = None, generation: str | None = None) -> None:
        self._db = db
        self._readiness = readiness or Readiness(db)
        self._fixed = generation

    async def _now(self, look_again: bool = False) -> str:
        return self._fixed if self._fixed is not None else await self._readiness(look_again)

    def _in(self, model: str, generation: str) -> Collection:
        return self._db[f"{model}@{generation}"]

    async def _surely(self, generation: str) -> None:
        """Raise RebuildingError where nothing was found only because another generation is read by now."""
        if await self._now(look_again=True) != generation:
            raise RebuildingError

    async def check(self) -> None:
        """Raise RebuildingError or UnavailableError unless the read models may be believed."""
        await self._now(look_again=True)

    async def get(self, model: str, id: str) -> View | None:
        """Return the view of one born document, or None; raises RebuildingError, UnavailableError."""
        generation = await self._now()
        with transient_errors():
            found = await self._in(model, generation).find_one({"_id": id}, {"view": 1})
        if found is None:
            await self._surely(generation)
            return None
        view: View | None = found["view"]
        return view

    async def find(
        self, model: str, where: Mapping[str, Any], sort: Sequence[tuple[str, int]] = (), limit: int = 0
    ) -> list[View]:
        """Return views by a MongoDB filter over view fields; unborn documents never match."""
        return [view async for view in self.each(model, where, sort, limit)]

    async def each(
        self, model: str, where: Mapping[str, Any], sort: Sequence[tuple[str, int]] = (), limit: int = 0
    ) -> AsyncIterator[View]:
        """Yield what `find` returns, for what is too much at once; only each batch must come within seconds."""
        generation, nothing = await self._now(), True
        lifted = {"$and": [{"view": {"$ne": None}}, _prefixed(where)]}
        with transient_errors():
            cursor = self._in(model, generation).find(lifted, {"view": 1}, limit=limit, batch_size=_BATCH)
            if sort:
                cursor = cursor.sort([(f"view.{name}", order) for name, order in sort])
            async for found in cursor:
                nothing = False
                yield found["view"]
        if nothing:
            await self._surely(generation)

    async def count(self, model: str, where: Mapping[str, Any]) -> int:
        """Return how many views match a MongoDB filter."""
        born = {"$and": [{"view": {"$ne": None}}, _prefixed(where)]}
        generation = await self._now()
        with transient_errors():
            found: int = await self._in(model, generation).count_documents(born)
        await self._surely(generation)
        return found

    async def total(self, model: str, field: str, where: Mapping[str, Any]) -> int:
        """Return the sum of a field, by its dotted path, over the views that match a MongoDB filter."""
        summed = {"_id": None, "total": {"$sum": f"$view.{field}"}}
        generation = await self._now()
        with transient_errors():
            cursor = await self._in(model, generation).aggregate([{"$match": _prefixed(where)}, {"$group": summed}])
            found = [each async for each in cursor]
        await self._surely(generation)
        return int(found[0]["total"]) if found else 0

    async def apply(self, event: Event, *models: str) -> None:
        """Fold `event` into each document that it touches (of `models` only, if given)."""
        generation = await self._now()
        for model, id in touched(event):
            if not models or model.name in models:
                await self._apply(self._in(model.name, generation), model, id, [event])

    async def apply_batch(self, events: Iterable[Event]) -> None:
        """Fold many events: one read and one bulk write a collection; contended documents go one by one."""
        generation = await self._now()
        for name, by_id in grouped(events).items():
            await self._apply_many(self._in(name, generation), READ_MODELS[name], by_id)

    async def _apply_many(self, collection: Collection, model: ReadModel, by_id: Mapping[str, list[Event]]) -> None:
        with transient_errors():
            before = {each["_id"]: _stored(each) async for each in collection.find({"_id": {"$in": list(by_id)}})}
        operations: list[tuple[str, InsertOne[dict[str, Any]] | ReplaceOne[dict[str, Any]]]] = []
        for id, events in by_id.items():
            old = before.get(id)
            new = _fold_all(model, id, old, events)
            if new is None:
                continue
            if old is None:
                operations.append((id, InsertOne(_document(id, new))))
            else:
                operations.append((id, ReplaceOne({"_id": id, "etag": old.etag}, _document(id, new))))
        if not operations:
            return
        try:
            with transient_errors():
                result = await collection.bulk_write([operation for _, operation in operations], ordered=False)
            if result.matched_count + result.inserted_count == len(operations):
                return
        except BulkWriteError as error:
            if any(each["code"] != 11000 for each in error.details["writeErrors"]):
                raise
        for id, _ in operations:  # somebody else wrote some of them: folding again changes nothing where we won
            await self._apply(collection, model, id, by_id[id])

    async def _apply(self, collection: Collection, model: ReadModel, id: str, events: Sequence[Event]) -> None:
        while True:
            with transient_errors():
                old = _stored(await collection.find_one({"_id": id}))
            new = _fold_all(model, id, old, events)
            if new is None:
                return
            with transient_errors():
                if old is None:
                    try:
                        await collection.insert_one(_document(id, new))
                        return
                    except DuplicateKeyError:
                        continue
                result = await collection.replace_one({"_id": id, "etag": old.etag}, _document(id, new))
            if result.matched_count:
                return

    async def put(self, model: ReadModel, documents: Mapping[str, Stored]) -> None:
        """Insert what a build folded, a few megabytes at a time."""
        collection = self._in(model.name, await self._now())
        batch: list[RawBSONDocument] = []
        size = 0
        for number, (id, stored) in enumerate(documents.items(), 1):
            batch.append(RawBSONDocument(bson.encode(_document(id, stored))))
            size += len(batch[-1].raw)
            if size > _PUT_BYTES or number == len(documents):
                with transient_errors():
                    await collection.insert_many(batch)
                batch, size = [], 0

    async def all(self, model: ReadModel) -> AsyncIterator[tuple[str, Stored]]:
        """Yield every stored document of a read model, unborn ones too."""
        with transient_errors():
            async for found in self._in(model.name, await self._now()).find({}, batch_size=_BATCH):
                stored = _stored(found)
                if stored is not None:
                    yield found["_id"], stored


def _fold_all(model: ReadModel, id: str, old: Stored | None, events: Sequence[Event]) -> Stored | None:
    """Return the document with all `events` folded in, or None when none changes it."""
    new: Stored | None = None
    for event in events:
        new = fold(model, id, new or old, event) or new
    return new


async def wait_ready(documents: MongoDocuments, patience: float = 60.0) -> None:
    """Wait until the read models are whole.

    Raises RebuildingError or UnavailableError after `patience` seconds; at once, where a person has to decide first.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            await documents.check()
            return
        except UnavailableError as error:
            if error.dependency == LOG or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
