"""The control documents, one suite."""

import uuid
from collections.abc import AsyncIterator

import pytest

from contracts.ports import Controls
from infra.adapters.memory import MemoryControls
from infra.adapters.mongo.controls import MongoControls
from infra.adapters.mongo.documents import Builds, connect
from infra.settings import Settings
from tests.conformance.controls import ControlsSuite


class TestMemoryControls(ControlsSuite):
    @pytest.fixture
    def controls(self) -> Controls:
        return MemoryControls()


@pytest.mark.connected
class TestMongoControls(ControlsSuite):
    @pytest.fixture
    async def controls(self, servers: Settings) -> AsyncIterator[Controls]:
        db = connect(str(servers.mongo_url), f"test_{uuid.uuid4().hex[:12]}")
        await Builds(db).begin("g")
        await Builds(db).complete("g", {})
        yield MongoControls(db)
        await db.client.drop_database(db.name)
        await db.client.close()
