"""Requests per second of the edge's `GET /v1/fine_tuning/jobs/{id}` ÷ bare Starlette doing the same two `find_one`.

Both arms are uvicorn processes on one mongod: look the key up by its hash, look the job up, check the tenant, answer
with the same JSON (asserted first) from the same encoder. Ours adds routing to every path, ids, times, errors, and the
check that the read models are whole (BENCHMARKS row 5, at least 0.6).

`python -m tests.benchmarks.edge_get [--quick]`
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.envelope import derived_id, make
from contracts.events.jobs import JobCreated, JobQueued, JobStarted
from contracts.wire import openai
from functions.edge.auth import key_hash
from infra.adapters.mongo.documents import connect
from infra.runtime.listening import listen
from infra.runtime.process import server
from infra.settings import Settings
from tests.benchmarks.edge_process import KEY, Served, prepare, serving, settings_env
from tests.functional.edge import plan
from tests.stack import running_stack

JOB = "ftjob-" + "0" * 32
PATH = f"/v1/fine_tuning/jobs/{JOB}"
CONNECTIONS = 16
ROUNDS = 5
GATE = 0.6
REQUEST = f"GET {PATH} HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()


def bare(mongo_url: str) -> Starlette:
    """The peer."""
    db = connect(mongo_url)

    async def job(request: Request) -> Response:
        digest = key_hash(request.headers["authorization"].removeprefix("Bearer "))
        key = await db["keys@benchmark"].find_one({"_id": digest}, {"view": 1})
        found = await db["jobs@benchmark"].find_one({"_id": request.path_params["id"]}, {"view": 1})
        if key is None or found is None or found["view"]["tenant"] != key["view"]["tenant"]:
            return Response(status_code=404)
        return Response(msgspec.json.encode(openai.job(found["view"])), media_type="application/json")

    async def healthz(_request: Request) -> Response:
        return Response()

    return Starlette(routes=[Route("/v1/fine_tuning/jobs/{id}", job), Route("/healthz", healthz)])


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Send the request once and return the answer's body."""
    writer.write(REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    at = head.lower().index(b"content-length: ") + 16
    return await reader.readexactly(int(head[at : head.index(b"\r\n", at)]))


async def load(served: Served, seconds: float) -> float:
    """Return requests per second over some connections at once."""
    until = time.perf_counter() + seconds

    async def one() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        made = 0
        while time.perf_counter() < until:
            await exchange(reader, writer)
            made += 1
        writer.close()
        return made

    begun = time.perf_counter()
    made = await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return sum(made) / (time.perf_counter() - begun)


async def answer(served: Served) -> Any:
    """Return the JSON that an arm answers with."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    body = await exchange(reader, writer)
    writer.close()
    return json.loads(body)


async def compare(arms: dict[str, Served], seconds: float) -> dict[str, Any]:
    """Let the arms take turns; the ratio is that of each round's rates."""
    said = [await answer(served) for served in arms.values()]
    assert said[0] == said[1]
    assert said[0]["id"] == JOB
    for served in arms.values():
        await load(served, seconds)
    rates: dict[str, list[float]] = {arm: [] for arm in arms}
    for number in range(ROUNDS):
        for arm in list(arms) if number % 2 == 0 else list(arms)[::-1]:
            rates[arm].append(await load(arms[arm], seconds))
    ratios = sorted(ours / peer for ours, peer in zip(rates["temper"], rates["starlette"], strict=True))
    low, *_, high = statistics.quantiles(ratios, n=10, method="inclusive")
    return {
        "row": "5",
        "what": "edge GET job req/s ÷ bare Starlette with the same two find_one",
        "requests_per_s": {arm: round(statistics.median(each)) for arm, each in rates.items()},
        "ratio": {"median": round(statistics.median(ratios), 3), "p10": round(low, 3), "p90": round(high, 3)},
        "gate": GATE,
        "passed": low >= GATE,
        "rounds": ROUNDS,
        "seconds": seconds,
        "connections": CONNECTIONS,
        "versions": {name: version(name) for name in ("starlette", "uvicorn", "pymongo")}
        | {"python": platform.python_version()},
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
    }


def run(quick: bool = False) -> dict[str, Any]:
    """Measure on a mongod of its own."""
    events = (
        make(JobCreated(model="base", training_file="file-1"), subject=JOB, tenant="local", id=derived_id("c")),
        make(JobQueued(plan=plan()), subject=JOB, tenant="local", id=derived_id("q")),
        make(
            JobStarted(total_steps=30, holder="me"), subject=JOB, tenant="local", id=derived_id("s"), epoch=1, attempt=1
        ),
    )
    with (
        tempfile.TemporaryDirectory(prefix="temper-bench-") as home,
        running_stack(Path(home), "--only", "mongo") as stack,
    ):
        assert stack.settings.mongo_url
        asyncio.run(prepare(stack.settings.mongo_url, *events))
        env = settings_env(stack.settings, home=home)
        with (
            serving(["-m", "infra.roles.app", "edge"], env, "/healthz") as temper,
            serving(["-m", "tests.benchmarks.edge_get", "--peer"], env, "/healthz") as starlette,
        ):
            return asyncio.run(compare({"temper": temper, "starlette": starlette}, 1.0 if quick else 4.0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter rounds")
    parser.add_argument("--peer", action="store_true", help="serve as the peer")
    asked = parser.parse_args()
    if asked.peer:
        settings = Settings()
        assert settings.mongo_url
        assert settings.edge_port
        asyncio.run(server(bare(settings.mongo_url)).serve([listen(settings.bind, settings.edge_port, "edge_port")]))
        sys.exit(0)
    result = run(asked.quick)
    print(json.dumps(result, indent=2, ensure_ascii=False))
    sys.exit(0 if result["passed"] else 1)
