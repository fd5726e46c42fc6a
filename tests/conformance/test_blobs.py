"""The blob stores, one suite."""

from collections.abc import AsyncIterator

import pytest

from contracts.ports import Blobs
from infra.adapters.memory import MemoryBlobs
from infra.settings import Settings
from tests.conformance.blobs import BlobsSuite
from tests.connected.stores import minio_blobs


class TestMemoryBlobs(BlobsSuite):
    @pytest.fixture
    def blobs(self) -> Blobs:
        return MemoryBlobs()


@pytest.mark.connected
class TestMinioBlobs(BlobsSuite):
    @pytest.fixture
    async def blobs(self, servers: Settings) -> AsyncIterator[Blobs]:
        async with minio_blobs(servers) as blobs:
            yield blobs
