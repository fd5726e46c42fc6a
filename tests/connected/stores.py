"""Stores of the test run."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from infra.adapters.minio.blobs import MinioBlobs
from infra.adapters.mongo.documents import Database, connect
from infra.settings import Settings


@asynccontextmanager
async def minio_blobs(servers: Settings) -> AsyncIterator[MinioBlobs]:
    """The real store, with its bucket."""
    assert servers.s3_url
    assert servers.s3_access_key
    assert servers.s3_secret_key
    blobs = MinioBlobs(
        servers.s3_url,
        servers.s3_access_key.get_secret_value(),
        servers.s3_secret_key.get_secret_value(),
        servers.s3_bucket,
    )
    try:
        await blobs.ensure_bucket()
        yield blobs
    finally:
        blobs.close()


@asynccontextmanager
async def mongo_database(servers: Settings) -> AsyncIterator[Database]:
    """A database in which nothing was built."""
    database = connect(str(servers.mongo_url), f"test_{uuid.uuid4().hex[:12]}")
    yield database
    await database.client.drop_database(database.name)
    await database.client.close()
