"""P2, P3: read models on real Kafka and MongoDB: two processes race, the database is lost, replay proves it."""

import asyncio
import multiprocessing
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from multiprocessing.synchronize import Barrier

import pytest

from contracts.blobs import BlobRef
from contracts.documents import READ_MODELS, View, touched
from contracts.documents.facts import Fact
from contracts.documents.jobs import JOBS
from contracts.envelope import Event, derived_id, make
from contracts.events.dead import DeadLetter
from contracts.events.files import FileDeleted, FileUploaded
from contracts.events.jobs import JobCreated, JobProgressed, JobStarted, StepMetrics
from contracts.events.keys import KeyCreated, KeyRevoked
from contracts.ports import RebuildingError
from infra.adapters.kafka import KafkaEmit
from infra.adapters.mongo.controls import MongoControls
from infra.adapters.mongo.documents import Builds, Database, MongoDocuments, connect, read_generation, wait_ready
from infra.runtime.belief import Belief
from infra.runtime.projector import Projector
from infra.runtime.reconciler import Reconciler
from infra.runtime.replay import verify
from infra.runtime.world import now_ms
from infra.settings import Settings
from tests.connected.garbage import TOPIC, Raw, outside, signed_with
from tests.connected.log import KEY, Tap

pytestmark = pytest.mark.connected


def some_events(job: str) -> list[Event]:
    def of(data, *key, **more) -> Event:
        return make(data, subject=job, tenant="local", id=derived_id(job, *key), **more)

    file = f"file-{job}"
    blob = BlobRef(key=f"local/{file}/content", sha256="0" * 64, bytes=1)
    steps = [StepMetrics(step=n, train_loss=1 / n, train_mean_token_accuracy=0.5) for n in range(1, 8)]
    return [
        make(
            FileUploaded(blob=blob, filename="a.jsonl", purpose="fine-tune"),
            subject=file,
            tenant="local",
            id=derived_id(file),
        ),
        of(JobCreated(model="m", training_file=file, metadata={"a.b": "$c"}), "created"),
        of(JobStarted(total_steps=7, holder="h"), "started", epoch=1, attempt=1),
        of(JobProgressed(total_steps=7, steps=tuple(steps)), "progressed", epoch=1, attempt=1),
        make(FileDeleted(), subject=file, tenant="local", id=derived_id(file, "deleted")),
    ]


@asynccontextmanager
async def projecting(servers: Settings, db: Database, emit: KafkaEmit) -> AsyncIterator[Belief]:
    bootstrap, belief = str(servers.kafka_bootstrap), Belief(str(servers.kafka_bootstrap), KEY, "local")
    controls = MongoControls(db)

    def restore(documents: MongoDocuments) -> Awaitable[int]:
        return Reconciler(documents, controls, emit, now_ms).restore()

    projector = Projector(bootstrap, Builds(db), restore, belief, emit)
    task = asyncio.create_task(projector.run())
    try:
        await wait_ready(MongoDocuments(db))
        yield belief
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await belief.close()


async def until(what: Callable[[], object], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not await what():  # type: ignore[misc]
            await asyncio.sleep(0.02)


async def contents(db: Database) -> dict[str, object]:
    documents = MongoDocuments(db)
    return {f"{model.name}/{id}": stored for model in READ_MODELS.values() async for id, stored in documents.all(model)}


def racing_events() -> list[Event]:
    return [replace(event, at=100 + n) for n in range(6) for event in some_events(f"ftjob-race{n}")]


def apply_shuffled(url: str, name: str, seed: int, start: Barrier) -> None:
    """What each racing process does: all events, twice, in an order of its own."""

    async def run() -> None:
        documents, mine = MongoDocuments(connect(url, name)), racing_events() * 2
        random.Random(seed).shuffle(mine)
        start.wait(60)
        for first in range(0, len(mine), 5):
            await documents.apply_batch(mine[first : first + 5])

    asyncio.run(run())


async def test_processes_that_race_in_different_orders_converge(servers: Settings, db: Database) -> None:
    await Builds(db).begin("g")
    await Builds(db).complete("g", {})
    events, spawn = racing_events(), multiprocessing.get_context("spawn")
    start = spawn.Barrier(3)
    racers = [spawn.Process(target=apply_shuffled, args=(str(servers.mongo_url), db.name, n, start)) for n in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        await asyncio.to_thread(racer.join, 60)
    assert [racer.exitcode for racer in racers] == [0, 0, 0]
    raced = await contents(db)
    assert len(raced) == len({(model.name, id) for event in events for model, id in touched(event)})
    await db.meta.delete_many({})
    await Builds(db).begin("again")
    await Builds(db).complete("again", {})
    for event in events:
        for_one = MongoDocuments(db)
        await for_one.apply(event)
    assert await contents(db) == raced


async def test_a_lost_database_is_rebuilt_by_itself_and_is_the_same(
    servers: Settings, db: Database, emit: KafkaEmit
) -> None:
    job = f"ftjob-{uuid.uuid4().hex}"
    documents = MongoDocuments(db)
    async with projecting(servers, db, emit) as belief:
        published = [await emit(event) for event in some_events(job)]
        await documents.apply(published[0])  # as the edge does, beside the projector

        async def seen() -> object:
            return await documents.get("job_events", (await last_line(documents, job)) or "-")

        await until(seen)
        assert (await verify(str(servers.kafka_bootstrap), db, belief)).ok
        before, old = await contents(db), await read_generation(db)
        await db.client.drop_database(db.name)
        with pytest.raises(RebuildingError):
            await documents.get("jobs", "nothing")

        async def rebuilt() -> object:
            generation = await read_generation(db)
            return generation is not None and old is not None and generation.id != old.id and generation.complete

        await until(rebuilt)
        assert await contents(db) == before
        control = await MongoControls(db).get(job)
        assert control is not None
        assert control.fence == 1
        assert await MongoControls(db).claim("train", "h") is None  # not before old leases have run out


async def last_line(documents: MongoDocuments, job: str) -> str | None:
    lines = await documents.find("job_events", {"job": job, "step": 7})
    return lines[0]["id"] if lines else None


async def test_verify_fails_on_an_edited_document_and_on_an_empty_collection(
    servers: Settings, db: Database, emit: KafkaEmit
) -> None:
    job = f"ftjob-{uuid.uuid4().hex}"
    async with projecting(servers, db, emit) as belief:
        for event in some_events(job):
            await emit(event)
        bootstrap = str(servers.kafka_bootstrap)
        report = await verify(bootstrap, db, belief)
        assert report.ok
        assert report.documents["jobs"] >= 1
        found = await read_generation(db)
        assert found is not None
        await db[f"jobs@{found.id}"].update_one({"_id": job}, {"$set": {"view.status": "succeeded"}})
        report = await verify(bootstrap, db, belief, patience=5)
        assert [(each.model, each.id, each.what) for each in report.differences] == [("jobs", job, "edited")]
        await db[f"files@{found.id}"].delete_many({})
        report = await verify(bootstrap, db, belief, patience=5)
        assert {each.what for each in report.differences if each.model == "files"} == {"missing"}


async def test_what_a_revoked_ingest_key_signed_is_in_no_read_model_and_one_dead_letter(
    servers: Settings, db: Database, emit: KafkaEmit
) -> None:
    key, bootstrap = f"key-{uuid.uuid4().hex}", str(servers.kafka_bootstrap)
    tap = await Tap.open(bootstrap, "dead.letter")
    good, bad = (signed_with(outside("acme"), "acme", key) for _ in range(2))
    documents = MongoDocuments(db)

    async def in_read_models() -> object:
        return [raw for raw in (good, bad) if await documents.get("files", (raw.key or b"").decode())]

    async def letters() -> list[DeadLetter]:
        said = [event.data for event in await tap.events() if isinstance(event.data, DeadLetter)]
        return [letter for letter in said if letter.function == "project_documents" and key in letter.message]

    async def say(raw: Raw) -> None:
        await emit.publish(TOPIC, raw.key or b"", raw.value, [(name, value or b"") for name, value in raw.headers])

    async with projecting(servers, db, emit) as belief:
        await emit(make(KeyCreated(sha256=key, hint="x", kind="ingest"), subject=key, tenant="acme", id=f"{key}-1"))
        await say(good)
        await until(in_read_models)
        await emit(make(KeyRevoked(sha256=key), subject=key, tenant="acme", id=f"{key}-2"))
        await say(bad)
        await until(letters)
        assert await in_read_models() == [good]
        assert (await verify(bootstrap, db, belief)).ok
        await db.client.drop_database(db.name)
        await wait_ready(documents)
        assert await in_read_models() == [good]
        assert [letter.code for letter in await letters()] == ["revoked_key"]


async def test_a_record_that_crashes_a_fold_is_passed_over_by_build_follow_and_verify_alike(
    servers: Settings, db: Database, emit: KafkaEmit, monkeypatch: pytest.MonkeyPatch
) -> None:
    tap, bootstrap = await Tap.open(str(servers.kafka_bootstrap), "dead.letter"), str(servers.kafka_bootstrap)
    first, second, fine = (f"ftjob-{uuid.uuid4().hex}" for _ in range(3))

    def crash(id: str, facts: Mapping[str, Fact]) -> View | None:
        if id in (first, second):
            raise RecursionError
        return JOBS.view(id, facts)

    monkeypatch.setitem(READ_MODELS, "jobs", replace(JOBS, view=crash))
    documents = MongoDocuments(db)

    async def letters() -> list[str]:
        said = [event.data for event in await tap.events() if isinstance(event.data, DeadLetter)]
        return [letter.code for letter in said if letter.function == "project_documents"]

    async def born(job: str) -> None:
        created = JobCreated(model="m", training_file=f"file-{job}")
        await emit(make(created, subject=job, tenant="local", id=derived_id(job)))

    async def folded() -> object:
        return await documents.get("jobs", fine)

    await born(first)
    async with projecting(servers, db, emit) as belief:
        assert await letters() == ["crashed"]
        await born(second)
        await born(fine)
        await until(folded)
        await until(lambda: _of_length(letters, 2))
        assert (await verify(bootstrap, db, belief)).ok
        assert await letters() == ["crashed", "crashed"]


async def _of_length(found: Callable[[], Awaitable[list[str]]], length: int) -> bool:
    return len(await found()) == length
