"""/healthz: this process answers. /readyz: what it needs does too. /status: how all of Temper is. /openapi.json."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.wire.answers import Alive, Check, Readiness, Status
from functions.edge.context import Answer, Probe, reply

PATIENCE = 4.0
"""Seconds that a probe may take, whatever its own limit."""
FRESH = 1.0
"""Seconds that an answer counts."""


class Checks:
    """Asks all probes at once; callers that come together share one round."""

    def __init__(self, probes: Mapping[str, Probe]) -> None:
        self._probes = probes
        self._round: asyncio.Task[dict[str, Check]] | None = None
        self._asked_at = 0.0

    async def __call__(self) -> dict[str, Check]:
        """Return name → {ok, message}, at most a second old."""
        now = asyncio.get_running_loop().time()
        if self._round is None or (self._round.done() and now - self._asked_at > FRESH):
            self._asked_at = now
            self._round = asyncio.create_task(self._ask())
        return await asyncio.shield(self._round)

    async def _ask(self) -> dict[str, Check]:
        told = await asyncio.gather(*(_probed(probe) for probe in self._probes.values()))
        return dict(zip(self._probes, told, strict=True))


async def _probed(probe: Probe) -> Check:
    try:
        async with asyncio.timeout(PATIENCE):
            return {"ok": True, "message": await probe()}
    except TimeoutError:
        return {"ok": False, "message": f"does not answer within {PATIENCE:.0f} s"}
    except Exception as error:  # noqa: BLE001 - whatever a probe raises is its answer
        return {"ok": False, "message": str(error)[:300] or type(error).__name__}


async def healthz(_request: Request) -> Answer[Alive]:
    """GET /healthz."""
    return reply(Alive(status="ok"))


async def readyz(request: Request) -> Answer[Readiness]:
    """GET /readyz: 200 when this process can serve, or 503 with the names of what it lacks."""
    checks = await request.app.state.readiness()
    ready = not _reasons(checks)
    shown: Readiness = {"status": "ready" if ready else "unready", "checks": checks}
    response = reply(shown)
    response.status_code = 200 if ready else 503
    return response


async def status(request: Request) -> Answer[Status]:
    """GET /status: all of Temper; `ok`, `degraded` (the API answers, some of its work rests) or `unready`, and why."""
    needs, others = await asyncio.gather(request.app.state.readiness(), request.app.state.others())
    reasons = _reasons(needs)
    shown: Status = {
        "status": "unready" if reasons else "degraded" if _reasons(others) else "ok",
        "reasons": reasons + _reasons(others),
        "checks": needs | others,
    }
    return reply(shown)


@cache
def _described() -> bytes:
    return files("contracts").joinpath("openapi.json").read_bytes()


async def openapi(_request: Request) -> Response:
    """GET /openapi.json: this API in OpenAPI 3.1."""
    return Response(_described(), media_type="application/json")


def _reasons(checks: Mapping[str, Check]) -> list[str]:
    return [f"{name}: {check['message']}" for name, check in checks.items() if not check["ok"]]


ROUTES = [
    Route("/healthz", healthz, methods=["GET"]),
    Route("/readyz", readyz, methods=["GET"]),
    Route("/status", status, methods=["GET"]),
    Route("/openapi.json", openapi, methods=["GET"]),
]
