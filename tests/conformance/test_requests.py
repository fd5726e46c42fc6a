"""What makes a POST safe to retry, one suite."""

import pytest

from contracts.ports import Requests
from infra.adapters.memory import MemoryRequests
from infra.adapters.mongo.documents import Database
from infra.adapters.mongo.idempotency import MongoRequests
from tests.conformance.requests import RequestsSuite


class TestMemoryRequests(RequestsSuite):
    @pytest.fixture
    def requests(self) -> Requests:
        return MemoryRequests()


@pytest.mark.connected
class TestMongoRequests(RequestsSuite):
    @pytest.fixture
    async def requests(self, db: Database) -> Requests:
        return MongoRequests(db)
