"""What must exist before the first request: topics, bucket, first API key, demo base."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from contextlib import aclosing, suppress
from pathlib import Path

from contracts.documents import ReadModel, Stored, View, fold
from contracts.documents.keys import KEYS
from contracts.documents.models import MODELS, PUBLIC, model_id
from contracts.envelope import Event, PoisonError, derived_id, make
from contracts.events.keys import KeyCreated
from contracts.events.models import ModelRegistered
from contracts.manifest import ManifestRef
from contracts.ports import UnavailableError
from functions.edge.auth import RANDOM_BYTES, encode_key, key_hash
from functions.register_model.work import register, register_embedding
from infra.adapters.kafka import end_offsets, ensure_topics, look_at_log, read_log
from infra.adapters.mongo.controls import ensure_indexes
from infra.adapters.mongo.documents import Builds, wait_ready
from infra.adapters.mongo.generations import DECIDE
from infra.children.child import ProcessChild
from infra.local.files import write_private
from infra.runtime.folding import ALL
from infra.runtime.world import World, needed, new_id, world
from infra.settings import Settings

log = logging.getLogger("temper")

FIRST_TENANT = "local"
DEMO_BASE = "temper-demo-1m"
DEMO_FOLDER = Path(__file__).parents[1] / "demo" / "base"


async def bootstrap(settings: Settings) -> str | None:
    """Make what must exist before the first request: topics, bucket, first API key, demo base; safe to repeat.

    Nothing is said to a log that is not the one of before; returns why it is not.
    """
    async with world(settings) as here:
        await here.blobs.ensure_bucket()
        await ensure_indexes(here.db)
        bootstrap = needed(settings.kafka_bootstrap, "kafka_bootstrap")
        wrong = await Builds(here.db).check(await look_at_log(bootstrap, ALL))
        if wrong is None:
            await ensure_topics(bootstrap)
            await _first_key(here, settings.home / "api_key")
            await register_base(here, DEMO_BASE, DEMO_FOLDER)
        return f"{wrong}. {DECIDE}" if wrong else None


async def read_models(settings: Settings, patience: float) -> None:
    """Wait until the read models are whole; see `wait_ready` for what it raises."""
    async with world(settings) as here:
        await wait_ready(here.documents, patience)


async def _first_key(here: World, path: Path) -> None:
    """Say that the first key was created, unless the log says so already."""
    key = path.read_text().strip() if path.exists() else encode_key(secrets.token_bytes(RANDOM_BYTES))
    data = KeyCreated(sha256=key_hash(key), hint=key[-4:], name="first")
    subject = f"key-{derived_id('key', data.sha256).replace('-', '')}"
    if not path.exists() or await _logged(here, KEYS, data.sha256, subject) is None:
        write_private(path, key + "\n")  # first: an attempt that is not acknowledged is repeated with the same key
        await here.emit(make(data, subject=subject, tenant=FIRST_TENANT, id=derived_id("key.created", data.sha256)))


async def register_base(
    here: World, name: str, source: Path, say: Callable[[str], None] = log.info, trial: bool = False
) -> tuple[ManifestRef, Event | None]:
    """Store a model and announce it, unless exactly this one is what its name stands for already.

    `trial`: see `register`. Raises NotAModelError.
    """
    data, _ = await register(here.blobs, ProcessChild(), name, source, say, trial)
    return await _announced(here, name, data)


async def register_embeddings(
    here: World, name: str, source: Path, say: Callable[[str], None] = log.info
) -> tuple[ManifestRef, Event | None]:
    """Store a model of embeddings and announce it, as `register_base` does. Raises NotAModelError."""
    data, _ = await register_embedding(here.blobs, ProcessChild(), name, source, say)
    return await _announced(here, name, data)


async def _announced(here: World, name: str, data: ModelRegistered) -> tuple[ManifestRef, Event | None]:
    known = await _logged(here, MODELS, model_id(PUBLIC, name), name)
    if known is not None and not known["deleted"] and known["manifest"] == data.manifest.model_dump(mode="json"):
        return data.manifest, None
    event = await here.emit(make(data, subject=name, tenant=PUBLIC, id=new_id()))
    with suppress(UnavailableError):  # whoever names it next finds it, unless the read models are being made anew
        await here.documents.apply(event)
    return data.manifest, event


async def _logged(here: World, model: ReadModel, id: str, subject: str) -> View | None:
    """Return a view as the log itself has it: the read models may be missing, old or behind it."""
    bootstrap, names = needed(here.settings.kafka_bootstrap, "kafka_bootstrap"), sorted(model.topics)
    stored: Stored | None = None
    async with aclosing(read_log(bootstrap, names, None, await end_offsets(bootstrap, names))) as batches:
        async for batch in batches:
            for record in batch:
                if record.key == subject.encode():
                    with suppress(PoisonError):
                        event = here.belief.believe(record)
                        if id in model.touches(event):
                            stored = fold(model, id, stored, event) or stored
    return stored.view if stored else None
