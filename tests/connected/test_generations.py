"""P3: a builder of read models is not ousted while it lives, readers see whole builds alone, nothing is left over."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.errors import PyMongoError

from contracts.blobs import BlobRef
from contracts.documents import READ_MODELS, fold
from contracts.documents.files import FILES
from contracts.envelope import derived_id, make
from contracts.events.files import FileUploaded
from contracts.ports import RebuildingError
from infra.adapters.kafka import KafkaEmit, LogState
from infra.adapters.mongo import generations
from infra.adapters.mongo.controls import MongoControls
from infra.adapters.mongo.documents import Builds, Database, MongoDocuments, connect, read_generation, wait_ready
from infra.runtime import projector as projecting
from infra.runtime.belief import Belief
from infra.runtime.projector import Projector
from infra.runtime.reconciler import Reconciler
from infra.runtime.world import now_ms
from infra.settings import Settings
from tests.connected.log import KEY, until
from tests.sizes import sized

pytestmark = pytest.mark.connected
LONG_AGO = datetime.fromtimestamp(0, UTC)
Restore = Callable[[MongoDocuments], Awaitable[int]]


async def nothing_to_restore(_: MongoDocuments) -> int:
    return 0


@asynccontextmanager
async def running(
    servers: Settings, db: Database, emit: KafkaEmit, restore: Restore = nothing_to_restore
) -> AsyncIterator[Projector]:
    """A worker's projector."""
    bootstrap = str(servers.kafka_bootstrap)
    belief = Belief(bootstrap, KEY, "local")
    projector = Projector(bootstrap, Builds(db), restore, belief, emit)
    task = asyncio.create_task(projector.run())
    try:
        yield projector
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await belief.close()


def uploaded(file: str) -> FileUploaded:
    blob = BlobRef(key=f"local/{file}/content", sha256="0" * 64, bytes=1)
    return FileUploaded(blob=blob, filename="a.jsonl", purpose="fine-tune")


async def collections(db: Database) -> set[str]:
    """Generations that have collections."""
    return {name.partition("@")[2] for name in await db.list_collection_names() if "@" in name}


async def test_of_two_workers_that_rebuild_slowly_one_does_it_once(
    servers: Settings, db: Database, emit: KafkaEmit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "ABANDONED_SECONDS", 6.0)
    monkeypatch.setattr(generations, "TOUCH_SECONDS", 0.2)
    restored: list[str] = []

    async def slow(documents: MongoDocuments) -> int:
        restored.append("begun")
        began = time.monotonic()
        await until(lambda: time.monotonic() - began > 3 * generations.ABANDONED_SECONDS)
        restored.append("done")
        return 0

    async with running(servers, db, emit, slow), running(servers, db, emit, slow):
        await wait_ready(MongoDocuments(db))
        assert restored == ["begun", "done"]
        found = await read_generation(db)
        assert found is not None
        assert await collections(db) == {found.id}


async def test_a_worker_that_is_told_to_end_ends_although_a_library_swallowed_it(
    servers: Settings, db: Database, emit: KafkaEmit, monkeypatch: pytest.MonkeyPatch
) -> None:
    belief, check, checks, reached = (
        Belief(str(servers.kafka_bootstrap), KEY, "local"),
        Builds.check,
        0,
        asyncio.Event(),
    )

    async def swallowing(*asked: Any) -> Any:
        nonlocal checks
        checks += 1
        if checks == 2:  # behind the build, before it is followed
            reached.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Future()
        return await check(*asked)

    monkeypatch.setattr(Builds, "check", swallowing)
    working = asyncio.create_task(
        Projector(str(servers.kafka_bootstrap), Builds(db), nothing_to_restore, belief, emit).run()
    )
    async with asyncio.timeout(60):
        await reached.wait()
        working.cancel()
        await asyncio.wait({working}, timeout=15)
    assert working.cancelled()
    await belief.close()


async def test_one_of_two_workers_follows_and_the_other_goes_on_when_that_one_is_gone(
    servers: Settings, db: Database, emit: KafkaEmit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "ABANDONED_SECONDS", 6.0)
    for module in (generations, projecting):
        monkeypatch.setattr(module, "TOUCH_SECONDS", 0.2)
    documents, followers = MongoDocuments(db), list[str | None]()

    async def follower() -> str | None:
        found = await read_generation(db)
        return found.follower if found else None

    async with running(servers, db, emit):
        await wait_ready(documents)
        first = await follower()
        async with running(servers, db, emit):
            await until(lambda: _differs(follower, first))
            second, began = await follower(), time.monotonic()
            while time.monotonic() - began < 2 * generations.ABANDONED_SECONDS:
                followers.append(await follower())
            assert set(followers) == {second}
        file = f"file-{uuid.uuid4().hex}"
        await emit(make(uploaded(file), subject=file, tenant="local", id=derived_id(file)))

        async def folded() -> bool:
            with suppress(RebuildingError):  # until it has caught up
                return await documents.get("files", file) is not None
            return False

        await until(folded)
        assert await follower() == first


async def test_whoever_is_overtaken_before_it_begins_to_follow_does_not_take_it_back(
    servers: Settings, db: Database, emit: KafkaEmit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projecting, "TOUCH_SECONDS", 0.2)
    looks, overtaken, look = list[str](), asyncio.Event(), projecting.look_at_log

    async def look_at_log(bootstrap: str, topics: tuple[str, ...]) -> LogState:
        looks.append(bootstrap)
        if len(looks) == 2:  # of whoever has built
            await overtaken.wait()
        return await look(bootstrap, topics)

    monkeypatch.setattr(projecting, "look_at_log", look_at_log)

    async def follower() -> str | None:
        found = await read_generation(db)
        return found.follower if found else None

    async with running(servers, db, emit):
        await wait_ready(MongoDocuments(db))
        await until(lambda: len(looks) == 2)
        first = await follower()
        async with running(servers, db, emit):
            await until(lambda: _differs(follower, first))
            second, seen = await follower(), len(looks)
            overtaken.set()
            await until(lambda: len(looks) > seen + 2)
            assert await follower() == second


async def _differs(look: Callable[[], Awaitable[str | None]], known: str | None) -> bool:
    return await look() != known


async def test_what_a_killed_builder_left_is_swept(servers: Settings, db: Database, emit: KafkaEmit) -> None:
    assert await Builds(db).begin("dead")
    await MongoDocuments(db, generation="dead").apply(
        make(uploaded("file-dead"), subject="file-dead", tenant="local", id="x")
    )
    await db.meta.update_many({}, {"$set": {"touched_at": LONG_AGO}})
    async with running(servers, db, emit):
        await wait_ready(MongoDocuments(db))
        found = await read_generation(db)
        assert found is not None
        assert found.id != "dead"
        await until(lambda: _are(db, {found.id}))


async def _are(db: Database, ids: set[str]) -> bool:
    return await collections(db) == ids


async def test_code_of_two_versions_reads_two_generations_until_nobody_follows_the_old_one(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds, documents = Builds(db), MongoDocuments(db)
    await builds.begin("old")
    await builds.prepare("old")
    await builds.complete("old", {})
    event = make(uploaded("file-1"), subject="file-1", tenant="local", id="1")
    await documents.apply(event)
    with monkeypatch.context() as newer:
        newer.setitem(READ_MODELS, "files", replace(FILES, version=FILES.version + 1))
        with pytest.raises(RebuildingError):
            await MongoDocuments(db).get("files", "file-1")
        assert await builds.begin("new")
        await builds.prepare("new")
        await builds.complete("new", {})
        await builds.sweep()
    assert await documents.get("files", "file-1") is not None  # the old one is read and followed as before
    assert await builds.follow("old", "somebody", {}) is not None
    await db.meta.update_many({}, {"$set": {"touched_at": LONG_AGO}})
    with monkeypatch.context() as newer:
        newer.setitem(READ_MODELS, "files", replace(FILES, version=FILES.version + 1))
        await builds.sweep()
        assert await MongoDocuments(db).find("files", {}) == []
    assert await collections(db) == {"new"}
    with pytest.raises(RebuildingError):
        await MongoDocuments(db).get("files", "file-1")


async def test_whole_collections_are_read_however_long_that_takes(
    servers: Settings, db: Database, emit: KafkaEmit
) -> None:
    """PyMongo gives `to_list` the time of one request for all of it."""
    many = sized(60_000, 150_000)
    await Builds(db).begin("g")
    await Builds(db).complete("g", {})
    event = make(uploaded("file-x"), subject="file-x", tenant="local", id="x")
    one = fold(FILES, "file-x", None, event)
    assert one is not None
    assert one.view is not None
    await MongoDocuments(db, generation="g").put(
        FILES, {f"file-{n}": replace(one, view={**one.view, "id": f"file-{n}"}) for n in range(many)}
    )
    hurried = connect(str(servers.mongo_url), db.name, seconds=1.0)
    async with hurried.client:
        building = MongoDocuments(hurried, generation="g")
        assert await Reconciler(building, MongoControls(db), emit, now_ms).restore() == many
        assert await db.controls.estimated_document_count() == many
        assert len([id async for id, _ in building.all(FILES)]) == many
        with pytest.raises(PyMongoError, match="time"):
            await hurried["files@g"].find().to_list()
