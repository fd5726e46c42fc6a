"""What readiness and `/status` ask: whether the stores answer, the read models are whole, the other roles are well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx

from contracts.function import Role
from contracts.ports import Documents
from functions.edge.context import Probe
from infra.adapters.http.serving import Serving
from infra.adapters.mongo.connection import Database, connect, transient_errors
from infra.runtime import heartbeats
from infra.runtime.functions import of_role
from infra.runtime.world import blob_store, needed
from infra.settings import Settings

PROBE_SECONDS = 3.0
PRESENT: tuple[Role, ...] = ("worker", "trainer")
"""Roles that say that they are there."""


class NotWellError(Exception):
    """A dependency answers, and what it says is not good."""


@asynccontextmanager
async def probing(settings: Settings) -> AsyncIterator[tuple[dict[str, Probe], dict[str, Probe]]]:
    """Yield the probes of what the edge needs, and of the rest; they use connections and threads of their own.

    Whoever asks how the edge is does not wait behind what it is doing.
    """
    db, blobs = connect(needed(settings.mongo_url, "mongo_url")), blob_store(settings)
    serving = Serving(needed(settings.inference_url, "inference_url"))
    own: dict[str, Probe] = {
        "kafka": partial(_kafka, needed(settings.kafka_bootstrap, "kafka_bootstrap")),
        "mongo": partial(_mongo, db),
        "minio": partial(_answers, blobs.ping),
    }
    others: dict[str, Probe] = {
        "serving": partial(_answers, serving.ping),
        **{role: partial(_present, db, role) for role in PRESENT},
        "groups": partial(_groups, db),
    }
    if settings.tracking == "mlflow" and settings.mlflow_url:
        others["mlflow"] = partial(_mlflow, settings.mlflow_url)
    try:
        yield own, others
    finally:
        await serving.close()
        await db.client.close()
        blobs.close()


def read_models(documents: Documents) -> Probe:
    """Return the probe that is well once the read models may be believed."""
    look: asyncio.Task[object] | None = None

    async def probe() -> str:
        nonlocal look
        if look is None or look.done():
            look = asyncio.ensure_future(documents.get("keys", ""))
        await asyncio.shield(look)  # the first one asks where the log ends; begun anew at each probe it would never end
        return "whole"

    return probe


async def _groups(db: Database) -> str:
    async with asyncio.timeout(PROBE_SECONDS):
        slow = await heartbeats.slow_groups(db)
    if slow:
        raise NotWellError("; ".join(slow))
    return "nothing waits"


async def _mlflow(url: str) -> str:
    async with httpx.AsyncClient(timeout=PROBE_SECONDS, trust_env=False) as client:
        response = await client.get(f"{url.rstrip('/')}/health")
    if response.is_server_error:
        raise NotWellError(f"answers {response.status_code}")
    return "answers"


async def _answers(ping: Callable[[], Coroutine[Any, Any, None]]) -> str:
    async with asyncio.timeout(PROBE_SECONDS):
        await ping()
    return "answers"


async def _mongo(db: Database) -> str:
    with transient_errors():
        async with asyncio.timeout(PROBE_SECONDS):
            await db.client.admin.command("ping")
    return "answers"


async def _kafka(bootstrap: str) -> str:
    from infra.local.health import kafka_ok

    async with asyncio.timeout(PROBE_SECONDS + 1):
        if not await kafka_ok(bootstrap):
            raise NotWellError(f"Kafka at {bootstrap} does not answer")
    return "answers"


async def _present(db: Database, role: Role) -> str:
    async with asyncio.timeout(PROBE_SECONDS):
        # an optional one is left out where what it needs is not there
        wrong = await heartbeats.look(db, role, [each.name for each in of_role(role) if not each.optional])
    if wrong is not None:
        raise NotWellError(wrong)
    return "at work"
