"""The edge process: OpenAI's API over events and read models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from functions.edge.app import create_app
from functions.edge.context import EdgeDeps
from infra import presence
from infra.adapters.http import HttpComplete, Serving
from infra.adapters.mongo_connection import Database, weather
from infra.listening import listen
from infra.process import server
from infra.settings import Settings
from infra.tracking import wandb_mode
from infra.world import needed, new_id, world

PROBE_SECONDS = 3.0


class NotWellError(Exception):
    """A dependency answers, and what it says is not good."""


async def run_edge(settings: Settings) -> None:
    """Serve the API until told to stop."""
    listener = listen(settings.bind, settings.edge_port or 8000, "edge_port")
    serving = Serving(needed(settings.inference_url, "inference_url"))
    async with world(settings, lasting=True) as here:
        probes = {
            "kafka": partial(_kafka, needed(settings.kafka_bootstrap, "kafka_bootstrap")),
            "mongo": partial(_mongo, here.db),
            "minio": partial(_answers, here.blobs.ping),
            "serving": partial(_answers, serving.ping),
            "worker": partial(_present, here.db, "worker"),
            "trainer": partial(_present, here.db, "trainer"),
        }
        app = create_app(
            EdgeDeps(
                blobs=here.blobs,
                emit=here.emit,
                documents=here.documents,
                controls=here.controls,
                requests=here.requests,
                secrets=here.secrets,
                wandb=wandb_mode(settings),
                complete=HttpComplete(serving),
                new_id=new_id,
                probes=probes,
            )
        )
        try:
            await server(app).serve([listener])
        finally:
            await serving.close()


async def _answers(ping: Callable[[], Coroutine[Any, Any, None]]) -> str:
    async with asyncio.timeout(PROBE_SECONDS):
        await ping()
    return "answers"


async def _mongo(db: Database) -> str:
    with weather():
        async with asyncio.timeout(PROBE_SECONDS):
            await db.client.admin.command("ping")
    return "answers"


async def _kafka(bootstrap: str) -> str:
    from infra.local.health import kafka_ok

    async with asyncio.timeout(PROBE_SECONDS + 1):
        if not await kafka_ok(bootstrap):
            raise NotWellError(f"Kafka at {bootstrap} does not answer")
    return "answers"


async def _present(db: Database, role: str) -> str:
    async with asyncio.timeout(PROBE_SECONDS):
        wrong = await presence.look(db, role)
    if wrong is not None:
        raise NotWellError(wrong)
    return "at work"
