"""The places of secrets, one suite."""

import pytest

from contracts.ports import Secrets
from infra.adapters.memory import MemorySecrets
from infra.adapters.mongo.documents import Database
from infra.adapters.mongo.secrets import MongoSecrets
from tests.conformance.secrets import SecretsSuite


class TestMemorySecrets(SecretsSuite):
    @pytest.fixture
    def secrets(self) -> Secrets:
        return MemorySecrets()


@pytest.mark.connected
class TestMongoSecrets(SecretsSuite):
    @pytest.fixture
    async def secrets(self, db: Database) -> Secrets:
        return MongoSecrets(db, b"a" * 32)
