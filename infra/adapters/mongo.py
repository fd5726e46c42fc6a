"""MongoDB: read models replaced by compare-and-set, and the generation that says whether they are whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson.codec_options import CodecOptions, TypeDecoder, TypeRegistry
from bson.int64 import Int64
from pymongo import AsyncMongoClient, InsertOne, ReplaceOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import AutoReconnect, BulkWriteError, DuplicateKeyError, PyMongoError, WTimeoutError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from contracts.documents import READ_MODELS, ReadModel, Stored, View, fold, touched
from contracts.envelope import Event
from contracts.ports import RebuildingError, UnavailableError

Database = AsyncDatabase[dict[str, Any]]


class _Whole(TypeDecoder):
    """From 2**31 on BSON has integers of 64 bits, which pymongo gives a class that JSON encoders refuse."""

    bson_type = Int64

    def transform_bson(self, value: Any) -> int:
        return int(value)


PLAIN: CodecOptions[dict[str, Any]] = CodecOptions(type_registry=TypeRegistry([_Whole()]))
"""What is read holds JSON's own types only."""
DATABASE = "temper"
ABANDONED_SECONDS = 15
"""A build that was not touched for this long is begun anew by somebody else."""
_GENERATION_TTL = 0.2  # seconds a positive answer is believed; a miss always looks again


@contextmanager
def weather() -> Iterator[None]:
    """Turn an outage of MongoDB into UnavailableError; everything else stays a bug."""
    try:
        yield
    except (AutoReconnect, WTimeoutError) as error:
        raise UnavailableError("mongo", f"MongoDB does not answer: {str(error)[:200]}") from error
    except PyMongoError as error:
        if getattr(error, "timeout", False):
            raise UnavailableError("mongo", f"MongoDB does not answer: {str(error)[:200]}") from error
        raise


def connect(url: str, database: str = DATABASE) -> Database:
    """Return the database; writes wait for the majority's journal, reads go to the primary, outages show in 4 s."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        url,
        serverSelectionTimeoutMS=3000,
        connectTimeoutMS=2000,
        timeoutMS=4000,
        appname="temper",
    )
    return client.get_database(
        database,
        codec_options=PLAIN,
        write_concern=WriteConcern(w="majority", j=True),
        read_concern=ReadConcern("majority"),
    )


@dataclass(frozen=True, slots=True)
class Generation:
    """One build of the read models."""

    id: str
    versions: Mapping[str, int]
    positions: Mapping[str, Mapping[str, int]]
    """topic → partition (as text) → next offset to fold."""
    complete: bool

    @property
    def current(self) -> bool:
        """Whether this build is whole and made by the code's own versions of the read models."""
        return self.complete and self.versions == code_versions()


def code_versions() -> dict[str, int]:
    """Return the version of each read model as this code folds it."""
    return {model.name: model.version for model in READ_MODELS.values()}


async def read_generation(db: Database) -> Generation | None:
    """Return the generation document, or None when there is none (MongoDB was lost, or is new)."""
    with weather():
        found = await db.meta.find_one({"_id": "generation"})
    if found is None:
        return None
    positions = {entry["topic"]: entry["offsets"] for entry in found["positions"]}
    return Generation(found["id"], found["versions"], positions, found["complete"])


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
    """The Documents port; `building` is for the builder, which may see and write what is not whole yet."""

    def __init__(self, db: Database, building: bool = False) -> None:
        self._db = db
        self._building = building
        self._whole_until = 0.0

    async def _whole(self, look_again: bool = False) -> None:
        if self._building or (not look_again and time.monotonic() < self._whole_until):
            return
        generation = await read_generation(self._db)
        if generation is None or not generation.current:
            self._whole_until = 0.0
            raise RebuildingError
        self._whole_until = time.monotonic() + _GENERATION_TTL

    async def get(self, model: str, id: str) -> View | None:
        """Return the view of one born document, or None; raises RebuildingError, UnavailableError."""
        await self._whole()
        with weather():
            found = await self._db[model].find_one({"_id": id}, {"view": 1})
        if found is None:
            await self._whole(look_again=True)
            return None
        view: View | None = found["view"]
        return view

    async def find(
        self, model: str, where: Mapping[str, Any], sort: Sequence[tuple[str, int]] = (), limit: int = 0
    ) -> list[View]:
        """Return views by a MongoDB filter over view fields; unborn documents never match."""
        lifted = {"$and": [{"view": {"$ne": None}}, _prefixed(where)]}
        with weather():
            cursor = self._db[model].find(lifted, {"view": 1}, limit=limit)
            if sort:
                cursor = cursor.sort([(f"view.{name}", order) for name, order in sort])
            found = await cursor.to_list()
        await self._whole(look_again=not found)
        return [each["view"] for each in found]

    async def count(self, model: str, where: Mapping[str, Any]) -> int:
        """Return how many views match a MongoDB filter."""
        with weather():
            found: int = await self._db[model].count_documents({"$and": [{"view": {"$ne": None}}, _prefixed(where)]})
        await self._whole()
        return found

    async def total(self, model: str, field: str, where: Mapping[str, Any]) -> int:
        """Return the sum of a field, by its dotted path, over the views that match a MongoDB filter."""
        summed = {"_id": None, "total": {"$sum": f"$view.{field}"}}
        with weather():
            cursor = await self._db[model].aggregate([{"$match": _prefixed(where)}, {"$group": summed}])
            found = await cursor.to_list()
        await self._whole()
        return int(found[0]["total"]) if found else 0

    async def apply(self, event: Event, *models: str) -> None:
        """Fold `event` into each document that it touches (of `models` only, if given)."""
        await self._whole()
        for model, id in touched(event):
            if not models or model.name in models:
                await self._apply(model, id, [event])

    async def apply_batch(self, events: Iterable[Event]) -> None:
        """Fold many events: one read and one bulk write a collection; contended documents go one by one."""
        await self._whole()
        grouped: dict[str, dict[str, list[Event]]] = {}
        for event in events:
            for model, id in touched(event):
                grouped.setdefault(model.name, {}).setdefault(id, []).append(event)
        for name, by_id in grouped.items():
            await self._apply_many(READ_MODELS[name], by_id)

    async def _apply_many(self, model: ReadModel, by_id: Mapping[str, list[Event]]) -> None:
        collection = self._db[model.name]
        with weather():
            found = await collection.find({"_id": {"$in": list(by_id)}}).to_list()
        before = {each["_id"]: _stored(each) for each in found}
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
            with weather():
                result = await collection.bulk_write([operation for _, operation in operations], ordered=False)
            if result.matched_count + result.inserted_count == len(operations):
                return
        except BulkWriteError as error:
            if any(each["code"] != 11000 for each in error.details["writeErrors"]):
                raise
        for id, _ in operations:  # somebody else wrote some of them: folding again changes nothing where we won
            await self._apply(model, id, by_id[id])

    async def _apply(self, model: ReadModel, id: str, events: Sequence[Event]) -> None:
        collection = self._db[model.name]
        while True:
            with weather():
                old = _stored(await collection.find_one({"_id": id}))
            new = _fold_all(model, id, old, events)
            if new is None:
                return
            with weather():
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
        """Insert what a build folded; a document that is there already is left to `apply`."""
        everything = [_document(id, stored) for id, stored in documents.items()]
        for start in range(0, len(everything), 500):
            try:
                with weather():
                    await self._db[model.name].insert_many(everything[start : start + 500], ordered=False)
            except BulkWriteError as error:
                if any(each["code"] != 11000 for each in error.details["writeErrors"]):
                    raise

    async def all(self, model: ReadModel) -> AsyncIterator[tuple[str, Stored]]:
        """Yield every stored document of a read model, unborn ones too."""
        async for found in self._db[model.name].find({}):
            stored = _stored(found)
            if stored is not None:
                yield found["_id"], stored


def _fold_all(model: ReadModel, id: str, old: Stored | None, events: Sequence[Event]) -> Stored | None:
    """Return the document with all `events` folded in, or None when none changes it."""
    new: Stored | None = None
    for event in events:
        new = fold(model, id, new or old, event) or new
    return new


class Builds:
    """Beginning, completing and following a generation of the read models."""

    def __init__(self, db: Database) -> None:
        self.database = db

    async def begin(self, id: str) -> bool:
        """Drop the read models and insert a new generation; False while somebody else builds one or has built it."""
        meta = self.database.meta
        with weather():
            old = await meta.find_one({"_id": "generation"})
            if old is not None:
                if old["versions"] == code_versions() and old["complete"]:
                    return False
                stale = {"$lt": ["$touched_at", {"$subtract": ["$$NOW", ABANDONED_SECONDS * 1000]}]}
                gone = await meta.delete_one(
                    {"_id": "generation", "id": old["id"], "$or": [{"complete": True}, {"$expr": stale}]}
                )
                if not gone.deleted_count:
                    return False
            fresh = {"id": id, "versions": code_versions(), "positions": [], "complete": False}
            try:
                await meta.insert_one({"_id": "generation", **fresh, "touched_at": datetime.now(UTC)})
            except DuplicateKeyError:
                return False
            for model in READ_MODELS.values():
                await self.database.drop_collection(model.name)
                for fields in model.indexes:
                    keys = [(f"view.{field.lstrip('-')}", -1 if field.startswith("-") else 1) for field in fields]
                    await self.database[model.name].create_index(keys)
        return True

    async def touch(self, id: str) -> None:
        """Say that the builder of generation `id` is alive."""
        await self._update(id, {})

    async def complete(self, id: str, positions: Mapping[str, Mapping[str, int]]) -> bool:
        """Declare generation `id` whole up to `positions`; False when it is no longer the generation."""
        return await self._update(id, {"complete": True, "positions": _entries(positions)})

    async def advance(self, id: str, positions: Mapping[str, Mapping[str, int]]) -> bool:
        """Record how far generation `id` has folded; False when it is no longer the generation."""
        return await self._update(id, {"positions": _entries(positions)})

    async def discard(self) -> None:
        """Forget the generation, so that the next round builds one."""
        with weather():
            await self.database.meta.delete_one({"_id": "generation"})

    async def _update(self, id: str, changes: Mapping[str, Any]) -> bool:
        change = {"$set": {**changes, "touched_at": datetime.now(UTC)}}
        with weather():
            result = await self.database.meta.update_one({"_id": "generation", "id": id}, change)
        return result.matched_count == 1


def _entries(positions: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    # Topic names hold dots, so they are values and not field names.
    return [{"topic": topic, "offsets": dict(offsets)} for topic, offsets in sorted(positions.items())]


async def wait_whole(documents: MongoDocuments, patience: float = 60.0) -> None:
    """Wait until the read models are whole; raises RebuildingError after `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            await documents.find("keys", {"id": ""}, limit=1)
            return
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
