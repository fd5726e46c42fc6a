"""P2, P4: a MongoDB that was put back to an earlier time makes nothing run, be said or be valid twice."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest

from contracts.cancellation import pause
from contracts.documents.models import model_id
from contracts.envelope import make
from contracts.events.jobs import JobPauseRequested
from contracts.events.keys import KeyCreated, KeyRevoked
from contracts.ports import RebuildingError, UnavailableError
from infra.adapters.kafka import KafkaEmit, end_offsets
from infra.adapters.mongo.documents import Builds, Database, MongoDocuments, Readiness, wait_ready
from infra.runtime.belief import Belief
from infra.runtime.folding import ALL
from infra.runtime.projector import Projector
from infra.runtime.reconciler import Reconciler
from infra.runtime.world import now_ms
from infra.settings import Settings
from tests.connected.log import KEY, Tap, until
from tests.connected.test_reconciler import Process, ask_for_a_model, let_time_pass
from tests.stack import addresses, running_stack

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]
Dump = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Servers of its own: in a log that other tests share, their unfinished jobs are to be done as well."""
    with running_stack(tmp_path_factory.mktemp("put_back"), "--only", "kafka,mongo,minio") as stack:
        yield addresses(stack)


@asynccontextmanager
async def worker(servers: Settings, process: Process) -> AsyncIterator[None]:
    """A projector beside a process's functions, and its reconciler."""
    bootstrap = str(servers.kafka_bootstrap)
    belief = Belief(bootstrap, KEY, "local")

    def restore(documents: MongoDocuments) -> Awaitable[int]:
        return Reconciler(documents, process.controls, process.emit, now_ms).restore()

    async def reconcile() -> None:
        while True:
            with suppress(UnavailableError):
                await process.reconciler().reconcile()
            await pause(0.1)

    projector = Projector(bootstrap, Builds(process.db), restore, belief, process.emit)
    tasks = [asyncio.create_task(projector.run())]
    try:
        await wait_ready(process.documents)
        await process.db.meta.delete_one({"_id": "claims"})  # derived control documents hold claims for half a minute
        tasks.append(asyncio.create_task(reconcile()))
        yield
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        await belief.close()
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


def lasting(servers: Settings, db: Database) -> Readiness:
    """What a process believes that begins now."""
    return Readiness(db, partial(end_offsets, str(servers.kafka_bootstrap), ALL))


async def dump(db: Database) -> Dump:
    return {name: [each async for each in db[name].find()] for name in await db.list_collection_names()}


async def put_back(db: Database, old: Dump) -> None:
    """Restore collections in place, what says how far they are first: the worst order."""
    for name in sorted(old, key=lambda name: name != "meta"):
        if name != "meta":
            await db[name].delete_many({})
            if old[name]:
                await db[name].insert_many(old[name])
        for each in old[name] if name == "meta" else ():
            await db[name].replace_one({"_id": each["_id"]}, each, upsert=True)


@pytest.mark.parametrize("at_rest", [True, False], ids=["with all processes stopped", "under running processes"])
async def test_a_finished_job_is_not_trained_again(
    servers: Settings, db: Database, emit: KafkaEmit, at_rest: bool
) -> None:
    bootstrap = str(servers.kafka_bootstrap)
    tap = await Tap.open(bootstrap, "job.started", "job.succeeded", "job.failed", "model.registered")
    key = f"key-{uuid.uuid4().hex}"
    async with AsyncExitStack() as lives:
        first = Process(db, emit)
        await lives.enter_async_context(worker(servers, first))
        await first.say(make(KeyCreated(sha256=key, hint="x"), subject=key, tenant="local", id=f"{key}-1"))
        _, job = await ask_for_a_model(first)
        first.dies_at = "job.started"  # the trainer does; its lease is in the copy
        async with first.running():
            await asyncio.wait_for(first.died.wait(), 30)
        old = await dump(db)
        await let_time_pass(db, "expires_at")
        second = Process(db, emit, whole=lasting(servers, db))
        await lives.enter_async_context(second.running())

        async def succeeded(process: Process) -> bool:
            with suppress(RebuildingError):
                return bool((await process.documents.get("jobs", job) or {}).get("status") == "succeeded")
            return False

        await until(partial(succeeded, second))
        model = (await second.documents.get("jobs", job) or {})["succeeded"]["fine_tuned_model"]
        made = await second.documents.get("models", model_id("local", model))
        await second.say(make(KeyRevoked(sha256=key), subject=key, tenant="local", id=f"{key}-2"))
        await until(lambda: _caught_up(servers, db))
        if at_rest:
            await lives.aclose()
        await put_back(db, old)
        await let_time_pass(db, "expires_at")

        edge = MongoDocuments(db, lasting(servers, db))
        with pytest.raises(RebuildingError):
            await edge.get("keys", key)  # it works, says this MongoDB
        third = Process(db, emit, whole=lasting(servers, db))
        await lives.enter_async_context(third.running())
        await lives.enter_async_context(worker(servers, third))

        async def known() -> bool:
            with suppress(RebuildingError):
                found = await edge.get("keys", key)
                assert found is not None
                assert found["revoked_at"] is not None
                return True
            return False

        await until(known)
        await until(partial(succeeded, third))

        async def at_an_end() -> bool:
            control = await third.controls.get(job)
            return control is not None and control.ended

        await until(at_an_end)
        assert await third.controls.claimable() == set()
        assert await third.documents.get("models", model_id("local", model)) == made
        events = sorted(await tap.events(), key=lambda event: event.at)
        said = [event for event in events if job in (event.subject, getattr(event.data, "job", None))]
        assert [event.type for event in said if event.subject == job] == ["job.started", "job.succeeded"]
        assert len({event.id for event in said}) == len(said)


async def _caught_up(servers: Settings, db: Database) -> bool:
    with suppress(RebuildingError):
        await lasting(servers, db)()
        return True
    return False


async def test_a_pause_that_the_control_document_forgot_holds(servers: Settings, db: Database, emit: KafkaEmit) -> None:
    trainer = Process(db, emit, dies_at="job.started")
    async with worker(servers, trainer):
        _, job = await ask_for_a_model(trainer)
        async with trainer.running():
            await asyncio.wait_for(trainer.died.wait(), 30)
        old = await dump(db)
        control = await trainer.controls.desire(job, "pause", "a request")
        assert control is not None
        asked = make(JobPauseRequested(), subject=job, tenant="local", id="a request", epoch=control.epoch)
        await trainer.say(asked)
        await until(lambda: _caught_up(servers, db))
    await put_back(db, old)
    again = Process(db, emit, whole=lasting(servers, db))
    async with again.running(), worker(servers, again):

        async def pausing() -> bool:
            control = await again.controls.get(job)
            assert control is not None
            return (control.epoch, control.desired) == (2, "pause")

        await until(pausing)
        await let_time_pass(db, "expires_at")
        await db.meta.delete_one({"_id": "claims"})
        assert await again.controls.claim("train", "h") is None

        async def paused() -> bool:
            with suppress(RebuildingError):
                return (await again.documents.get("jobs", job) or {}).get("status") == "paused"
            return False

        await until(paused)
