"""What tests on real servers share: a database of one's own, and a producer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from infra.adapters.kafka import KafkaEmit, ensure_topics
from infra.adapters.mongo.controls import ensure_indexes
from infra.adapters.mongo.documents import Builds, Database
from infra.settings import Settings
from tests.connected.log import KEY
from tests.connected.stores import mongo_database


@pytest_asyncio.fixture
async def db(servers: Settings) -> AsyncIterator[Database]:
    """A database in which nothing was built."""
    async with mongo_database(servers) as database:
        yield database


@pytest_asyncio.fixture
async def whole(db: Database) -> None:
    """Read models that are whole, and empty: for tests that mark themselves as using it."""
    await ensure_indexes(db)
    builds = Builds(db)
    await builds.begin("g")
    await builds.prepare("g")
    await builds.complete("g", {})


@pytest_asyncio.fixture
async def emit(servers: Settings) -> AsyncIterator[KafkaEmit]:
    """A producer that signs with the tests' key; the topics are there."""
    await ensure_topics(str(servers.kafka_bootstrap))
    producer = KafkaEmit(str(servers.kafka_bootstrap), KEY)
    yield producer
    await producer.stop()
