"""What the suites of MongoDB's stores share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from infra.adapters.mongo.documents import Builds, Database
from infra.settings import Settings
from tests.connected.stores import mongo_database


@pytest_asyncio.fixture
async def db(servers: Settings) -> AsyncIterator[Database]:
    """A database whose read models are whole, and empty."""
    async with mongo_database(servers) as database:
        await Builds(database).begin("g")
        await Builds(database).complete("g", {})
        yield database
