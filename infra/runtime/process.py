"""A worker process: deliveries and loops until SIGTERM, health on a port, presence in MongoDB."""

from __future__ import annotations

import asyncio
import logging
import resource
import shutil
import signal
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from infra.adapters.http.server import BoundedProtocol
from infra.adapters.kafka import Delivery, Subscription
from infra.runtime import heartbeats
from infra.runtime.listening import listen
from infra.runtime.world import World, holder, needed
from infra.settings import Settings

log = logging.getLogger("temper")

OPEN_FILES = 8192
"""Connections of strangers, and those to the stores."""


def deliveries(here: World, subscriptions: Sequence[Subscription], metrics: CollectorRegistry) -> Delivery:
    """Return what delivers events to these consumer groups, counting in `metrics`."""
    bootstrap = needed(here.settings.kafka_bootstrap, "kafka_bootstrap")
    return Delivery(bootstrap, subscriptions, here.emit, here.belief, metrics)


def scratch_folder(settings: Settings, role: str) -> Path:
    """Return this role's scratch folder, emptied of what a dead process left there."""
    folder = settings.home.absolute() / "scratch" / role
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def run_process(
    here: World,
    role: str,
    functions: Collection[str],
    delivery: Delivery,
    loops: Sequence[Callable[[], Awaitable[None]]],
    trouble: Callable[[], str | None],
    details: Callable[[], dict[str, object]],
    metrics: CollectorRegistry,
) -> None:
    """Run deliveries and loops until SIGTERM, answering GET /healthz and /metrics; a loop that ends takes it down.

    Raises PortTakenError before anything is begun.
    """
    listener = listen(here.settings.bind, here.settings.health_port or 8002, "health_port")

    async def healthz(request: Request) -> JSONResponse:
        wrong = trouble()
        body = {"status": "ok" if wrong is None else "waiting", "reason": wrong, **details()}
        return JSONResponse(body)

    async def measured(request: Request) -> Response:
        return Response(generate_latest(metrics), media_type=CONTENT_TYPE_LATEST)

    def groups() -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = delivery.status()["groups"]
        return found

    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    delivering = delivery.start()
    app = Starlette(routes=[Route("/healthz", healthz), Route("/metrics", measured)])
    tasks = [asyncio.ensure_future(loop()) for loop in loops]
    tasks.append(asyncio.ensure_future(heartbeats.say(here.db, role, functions, holder(), trouble, groups)))
    tasks.append(asyncio.ensure_future(GuestServer(server(app, lifespan="off").config).serve([listener])))
    waiting = asyncio.ensure_future(stopping.wait())
    try:
        done, _ = await asyncio.wait({waiting, delivering, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {waiting}:
            task.result()
    finally:
        for task in (*tasks, waiting):
            task.cancel()
        await asyncio.gather(*tasks, waiting, return_exceptions=True)
        await delivery.stop()


def _allow_files() -> None:
    """Let this process open as many files as its connections need, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class GuestServer(uvicorn.Server):
    """An HTTP server in a process that handles its signals itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def server(
    app: ASGIApp, lifespan: Literal["auto", "off"] = "auto", protocol: type[BoundedProtocol] = BoundedProtocol
) -> uvicorn.Server:
    """Return an HTTP server; `serve([listen(…)])` also takes over the process's signals.

    Without a `lifespan` it may be cancelled; with one, uvicorn writes a traceback then.
    """
    _allow_files()
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan=lifespan,
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=5,
            server_header=False,
        )
    )
