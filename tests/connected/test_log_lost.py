"""P3: a Kafka that was cut, emptied or exchanged erases nothing: it is red, and a person decides."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from click.testing import CliRunner

from contracts.documents.models import PUBLIC, model_id
from contracts.ports import RebuildingError, UnavailableError
from functions.edge.auth import key_hash
from infra.adapters.kafka import end_offsets, look_at_log
from infra.adapters.mongo.documents import Builds, MongoDocuments, read_generation, wait_ready
from infra.cli.main import temper
from infra.runtime import projector as projecting
from infra.runtime.bootstrap import DEMO_BASE, bootstrap
from infra.runtime.folding import ALL
from infra.runtime.projector import Projector
from infra.runtime.replay import verify
from infra.runtime.world import World, world
from infra.settings import Settings
from tests.connected.log import until
from tests.stack import addresses, running_stack

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]
SERVERS = "kafka,mongo,minio"


@asynccontextmanager
async def projected(settings: Settings) -> AsyncIterator[tuple[World, Projector]]:
    """A worker's projector on a home's own servers."""

    async def nothing(_: MongoDocuments) -> int:
        return 0

    async with world(settings) as here:
        projector = Projector(str(settings.kafka_bootstrap), Builds(here.db), nothing, here.belief, here.emit)
        task = asyncio.create_task(projector.run())
        try:
            yield here, projector
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def red(here: World, projector: Projector, why: str) -> None:
    """Return when the worker says why, and nobody believes the read models any more."""

    async def said() -> bool:
        return projector.trouble is not None and why in projector.trouble

    await until(said)
    assert "temper replay accept" in str(projector.trouble)
    with pytest.raises(UnavailableError, match="operator") as refused:
        await MongoDocuments(here.db).get("keys", "x")
    assert not isinstance(refused.value, RebuildingError)
    assert await here.controls.claimable() == set()
    report = await verify(str(here.settings.kafka_bootstrap), here.db, here.belief)
    assert not report.ok
    assert why in str(report.wrong)


async def stored(here: World) -> int:
    """How many documents the generation has, believed or not."""
    found = await read_generation(here.db)
    assert found is not None
    documents = MongoDocuments(here.db, generation=found.id)
    return await documents.count("keys", {}) + await documents.count("models", {})


async def behead(kafka: str, topic: str) -> None:
    """Delete what a topic holds, as a retention does."""
    ends = await end_offsets(kafka, (topic,))
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.delete_records(
            {TopicPartition(*place): RecordsToDelete(before_offset=end) for place, end in ends.items() if end}
        )
    finally:
        await admin.close()


async def accept(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TEMPER_HOME", str(home))
    done = await asyncio.to_thread(CliRunner().invoke, temper, ["replay", "accept", "--yes"], terminal_width=200)
    assert done.exit_code == 0, done.output
    return done.output


async def knows_what_the_home_holds(here: World, home: Path) -> None:
    """Return when the first key works and the demo base is there, as after the first start."""
    documents = MongoDocuments(here.db)
    key = (home / "api_key").read_text().strip()

    async def known() -> bool:
        try:
            found = await documents.get("keys", key_hash(key))
            base = await documents.get("models", model_id(PUBLIC, DEMO_BASE))
        except UnavailableError:
            return False
        return found is not None and found["revoked_at"] is None and base is not None

    await until(known)
    await wait_ready(documents)
    assert (await verify(str(here.settings.kafka_bootstrap), here.db, here.belief)).ok


async def test_another_log_is_red_and_erases_nothing_until_a_person_accepts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projecting, "CHECK_SECONDS", 0.0)
    home = tmp_path / "home"
    with running_stack(home, "--only", SERVERS) as stack:
        settings = addresses(stack)
        kafka = str(settings.kafka_bootstrap)
        assert await bootstrap(settings) is None
        said = await end_offsets(kafka, ("key.created", "model.registered"))
        assert await bootstrap(settings) is None
        assert await end_offsets(kafka, ("key.created", "model.registered")) == said
        async with projected(settings) as (here, projector):
            await knows_what_the_home_holds(here, home)
            before = await stored(here)
            await behead(kafka, "key.created")
            await red(here, projector, "the log's beginning is gone")
            assert await stored(here) == before
            assert "key.created" in await accept(home, monkeypatch)
            await knows_what_the_home_holds(here, home)

    shutil.rmtree(home / "kafka")
    with running_stack(home, "--only", SERVERS) as stack:
        settings = addresses(stack)
        kafka = str(settings.kafka_bootstrap)
        assert "another cluster" in str(await bootstrap(settings))
        assert sum((await look_at_log(kafka, ALL)).ends.values()) == 0  # nothing was said to it
        async with projected(settings) as (here, projector):
            await red(here, projector, "another cluster")
            assert await stored(here) == before
            await accept(home, monkeypatch)
            await knows_what_the_home_holds(here, home)
