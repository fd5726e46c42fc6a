"""Control documents of MongoDB while read models are rebuilt, and what makes POST safe to retry."""

import asyncio

import pytest

from contracts.ports import RebuildingError
from infra.adapters.mongo.controls import MongoControls
from infra.adapters.mongo.documents import Database
from infra.adapters.mongo.requests import MongoRequests

pytestmark = [pytest.mark.connected, pytest.mark.usefixtures("whole")]


async def test_nothing_is_created_or_claimed_while_the_read_models_are_not_whole(db: Database) -> None:
    controls = MongoControls(db)
    await controls.open("ftjob-1", "local", "train", {})
    await db.meta.delete_many({})
    with pytest.raises(RebuildingError):
        await controls.open("ftjob-2", "local", "train", {})
    assert await controls.claim("train", "h") is None


async def test_a_marked_retry_adopts_and_two_deliberate_posts_stay_two(db: Database) -> None:
    requests = MongoRequests(db)
    first = await requests.reserve("local", "jobs", None, "body", False, "a")
    second = await requests.reserve("local", "jobs", None, "body", False, "b")
    assert (first.id, second.id) == ("a", "b")
    retried = await requests.reserve("local", "jobs", None, "body", True, "c")
    assert (retried.id, retried.state) == ("b", "adopted")
    await requests.complete(retried)
    await requests.complete(first)
    fresh = await requests.reserve("local", "jobs", None, "body", True, "d")
    assert (fresh.id, fresh.state) == ("d", "new")


async def test_one_idempotency_key_is_one_object_for_fifty_callers(db: Database) -> None:
    requests = MongoRequests(db)
    answers = await asyncio.gather(*(requests.reserve("local", "jobs", "k", "body", False, f"i{n}") for n in range(50)))
    assert len({answer.id for answer in answers}) == 1
    assert sum(answer.state == "new" for answer in answers) == 1
    other = await requests.reserve("local", "jobs", "k", "other body", False, "z")
    assert other.state == "mismatch"
