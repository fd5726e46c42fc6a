"""The stores made real, and what every process of Temper has in common."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import uuid_utils

from infra.adapters.kafka import KafkaEmit, end_offsets
from infra.adapters.minio.access import MinioAccess
from infra.adapters.minio.blobs import MinioBlobs
from infra.adapters.mongo.controls import MongoControls
from infra.adapters.mongo.documents import Database, MongoDocuments, Readiness, connect
from infra.adapters.mongo.idempotency import MongoRequests
from infra.adapters.mongo.secrets import MongoSecrets
from infra.runtime.belief import Belief
from infra.runtime.folding import ALL
from infra.settings import Settings


class MissingSettingError(Exception):
    """A setting that this role cannot do without; says which."""


@dataclass(frozen=True)
class World:
    """The stores, made real."""

    settings: Settings
    db: Database
    documents: MongoDocuments
    controls: MongoControls
    requests: MongoRequests
    secrets: MongoSecrets
    blobs: MinioBlobs
    emit: KafkaEmit
    signing_key: bytes
    belief: Belief


def needed(value: str | None, name: str) -> str:
    """Return a setting's value, or raise MissingSettingError."""
    if not value:
        raise MissingSettingError(f"TEMPER_{name.upper()} is not set; `temper up` sets it for its roles.")
    return value


def blob_store(settings: Settings) -> MinioBlobs:
    """Return the blob store that settings name."""
    access, secret = settings.s3_access_key, settings.s3_secret_key
    return MinioBlobs(
        needed(settings.s3_url, "s3_url"),
        needed(access.get_secret_value() if access else None, "s3_access_key"),
        needed(secret.get_secret_value() if secret else None, "s3_secret_key"),
        settings.s3_bucket,
    )


def minio_access(settings: Settings) -> MinioAccess:
    """Return what makes S3 credentials for ingest keys."""
    access, secret, signing = settings.s3_access_key, settings.s3_secret_key, settings.signing_key
    return MinioAccess(
        needed(settings.s3_url, "s3_url"),
        needed(access.get_secret_value() if access else None, "s3_access_key"),
        needed(secret.get_secret_value() if secret else None, "s3_secret_key"),
        settings.s3_bucket,
        needed(signing.get_secret_value() if signing else None, "signing_key").encode(),
    )


@asynccontextmanager
async def world(settings: Settings, lasting: bool = False) -> AsyncIterator[World]:
    """Connect to the stores; nothing is contacted before it is needed.

    A `lasting` process believes no read model that is behind the log as it finds it.
    """
    secret = settings.signing_key
    signing_key = needed(secret.get_secret_value() if secret else None, "signing_key").encode()
    db = connect(needed(settings.mongo_url, "mongo_url"))
    bootstrap = needed(settings.kafka_bootstrap, "kafka_bootstrap")
    emit, belief = KafkaEmit(bootstrap, signing_key), Belief(bootstrap, signing_key, settings.unsigned_tenant)
    readiness = Readiness(db, partial(end_offsets, bootstrap, ALL) if lasting else None)
    try:
        yield World(
            settings,
            db,
            MongoDocuments(db, readiness),
            MongoControls(db, readiness),
            MongoRequests(db),
            MongoSecrets(db, signing_key),
            blob_store(settings),
            emit,
            signing_key,
            belief,
        )
    finally:
        await belief.close()
        await emit.stop()
        await db.client.close()


def new_id() -> str:
    """Return a UUIDv7: the id of a command."""
    return str(uuid_utils.uuid7())


def now_ms() -> int:
    """Return the time in milliseconds."""
    return time.time_ns() // 1_000_000


def holder() -> str:
    """Return how this process names itself in leases."""
    return f"{socket.gethostname()}/{os.getpid()}"
