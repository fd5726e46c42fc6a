"""P5: what is said of the processes that are there, on real MongoDB."""

import asyncio
import uuid

import pytest

from infra.adapters.mongo.controls import ensure_indexes
from infra.adapters.mongo.documents import connect
from infra.runtime import heartbeats
from infra.settings import Settings

pytestmark = pytest.mark.connected


async def test_a_process_that_ends_is_forgotten_and_one_that_was_killed_is_so_after_an_hour(servers: Settings) -> None:
    db = connect(str(servers.mongo_url), f"test_{uuid.uuid4().hex[:12]}")
    try:
        await ensure_indexes(db)
        saying = asyncio.create_task(heartbeats.say(db, "trainer", ["train_model"], "host/1", lambda: None, dict))
        async with asyncio.timeout(10):
            while await heartbeats.look(db, "trainer", ["train_model"]) is not None:
                await asyncio.sleep(0.02)
        saying.cancel()
        await asyncio.wait({saying})
        assert await db.heartbeats.count_documents({}) == 0
        indexes = await db.heartbeats.index_information()
        assert [each["expireAfterSeconds"] for each in indexes.values() if "expireAfterSeconds" in each] == [3600]
    finally:
        await db.client.drop_database(db.name)
        await db.client.close()


async def test_of_several_workers_the_one_that_hangs_is_missed_by_what_it_does(servers: Settings) -> None:
    db = connect(str(servers.mongo_url), f"test_{uuid.uuid4().hex[:12]}")
    functions = ["chunk_text", "notify", "validate_file"]
    try:
        said = {"role": "worker", "trouble": None, "groups": []}
        now = {"$set": {"at": "$$NOW", **{name: {"$literal": value} for name, value in said.items()}}}
        for holder, has in (("a/1", functions[:2]), ("b/1", functions[2:])):
            await db.heartbeats.update_one({"_id": holder}, [now, {"$set": {"functions": has}}], upsert=True)
        assert await heartbeats.look(db, "worker", functions) is None
        await db.heartbeats.update_one({"_id": "b/1"}, {"$set": {"trouble": "the log was lost"}})
        assert await heartbeats.look(db, "worker", functions) == "the log was lost"
        await db.heartbeats.delete_one({"_id": "b/1"})
        assert await heartbeats.look(db, "worker", functions) == (
            "no worker with validate_file has said anything for 6 s"
        )
        await db.heartbeats.delete_one({"_id": "a/1"})
        assert await heartbeats.look(db, "worker", functions) == "no worker has said anything for 6 s"
    finally:
        await db.client.drop_database(db.name)
        await db.client.close()
