"""The control documents, one suite."""

import pytest

from contracts.ports import Controls
from infra.adapters.memory import MemoryControls
from infra.adapters.mongo.controls import MongoControls
from infra.adapters.mongo.documents import Database
from tests.conformance.controls import ControlsSuite


class TestMemoryControls(ControlsSuite):
    @pytest.fixture
    def controls(self) -> Controls:
        return MemoryControls()


@pytest.mark.connected
class TestMongoControls(ControlsSuite):
    @pytest.fixture
    async def controls(self, db: Database) -> Controls:
        return MongoControls(db)
