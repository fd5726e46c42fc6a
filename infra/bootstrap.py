"""What must exist before the first request: topics, bucket, first API key, demo base."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from pathlib import Path

from contracts.documents.models import PUBLIC, model_id
from contracts.envelope import Event, derived_id, make
from contracts.events.keys import KeyCreated
from functions.edge.auth import RANDOM_BYTES, encode_key, key_hash
from infra.adapters.kafka import ensure_topics
from infra.adapters.mongo import MongoDocuments
from infra.adapters.mongo_controls import ensure_indexes
from infra.local.files import write_private
from infra.models import register
from infra.settings import Settings
from infra.world import World, needed, world

log = logging.getLogger("temper")

FIRST_TENANT = "local"
DEMO_BASE = "temper-demo-1m"
DEMO_FOLDER = Path(__file__).parent / "demo" / "base"


async def bootstrap(settings: Settings) -> None:
    """Make what must exist before the first request: topics, bucket, first API key, demo base; safe to repeat."""
    async with world(settings) as here:
        await ensure_topics(needed(settings.kafka_bootstrap, "kafka_bootstrap"))
        await here.blobs.ensure_bucket()
        await ensure_indexes(here.db)
        await _first_key(here, settings.home / "api_key")
        await register_base(here, DEMO_BASE, DEMO_FOLDER)


async def _first_key(here: World, path: Path) -> None:
    if path.exists():
        return
    key = encode_key(secrets.token_bytes(RANDOM_BYTES))
    data = KeyCreated(sha256=key_hash(key), hint=key[-4:], name="first")
    subject = f"key-{derived_id('key', data.sha256).replace('-', '')}"
    await here.emit(make(data, subject=subject, tenant=FIRST_TENANT, id=derived_id("key.created", data.sha256)))
    write_private(path, key + "\n")


async def register_base(here: World, name: str, folder: Path, say: Callable[[str], None] = log.info) -> Event:
    """Store a model directory and announce it, unless exactly this one is known under that name already."""
    event, _ = await register(here.blobs, name, folder, say)
    known = await MongoDocuments(here.db, building=True).get("models", model_id(PUBLIC, name))
    data = event.data.model_dump(mode="json")
    if known is not None and not known["deleted"] and known["manifest"] == data["manifest"]:
        return event
    return await here.emit(event)
