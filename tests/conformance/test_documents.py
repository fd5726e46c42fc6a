"""The read models, one suite."""

import pytest

from contracts.ports import Documents
from infra.adapters.memory import MemoryDocuments
from infra.adapters.mongo.documents import Database, MongoDocuments
from tests.conformance.documents import DocumentsSuite


class TestMemoryDocuments(DocumentsSuite):
    @pytest.fixture
    def documents(self) -> Documents:
        return MemoryDocuments()


@pytest.mark.connected
class TestMongoDocuments(DocumentsSuite):
    @pytest.fixture
    async def documents(self, db: Database) -> Documents:
        return MongoDocuments(db)
