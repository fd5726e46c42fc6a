"""MB per second of `POST /v1/files` ÷ raw minio-py `put_object` of the same bytes to the same server.

Ours is a whole upload: multipart over HTTP to the edge process, hashed, stored, published, folded, answered. The peer
puts from memory in 8 MiB parts, three at a time. The stored bytes are asserted equal first; the edge's memory is
watched during every upload (BENCHMARKS row 6: at least 0.5 for 256 MB, growing by less than 64 MB).

`python -m tests.benchmarks.upload [--quick]`
"""

import argparse
import asyncio
import hashlib
import http.client
import io
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from minio import Minio

from infra.adapters.kafka import ensure_topics
from infra.settings import Settings
from tests.benchmarks.edge_process import KEY, Served, prepare, serving, settings_env
from tests.connected.stores import minio_blobs
from tests.stack import running_stack

MIB = 2**20
ROUNDS = 5
GATE = 0.5
GATE_MIB = 64
BOUNDARY = "benchmark-boundary"


def upload(served: Served, data: bytes) -> Any:
    """Upload through the edge and return the FileObject."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    ).encode()
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    connection.putrequest("POST", "/v1/files")
    connection.putheader("Authorization", f"Bearer {KEY}")
    connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
    connection.putheader("Content-Length", str(len(head) + len(data) + len(tail)))
    connection.endheaders()
    for part in (head, memoryview(data), tail):
        connection.send(part)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body
    connection.close()
    return json.loads(body)


def peer(settings: Settings) -> Minio:
    """Return a plain client of the same server."""
    assert settings.s3_url
    assert settings.s3_access_key
    assert settings.s3_secret_key
    access, secret = settings.s3_access_key.get_secret_value(), settings.s3_secret_key.get_secret_value()
    return Minio(urlsplit(settings.s3_url).netloc, access_key=access, secret_key=secret, secure=False)


def put(client: Minio, bucket: str, data: bytes) -> None:
    """Put the bytes with minio-py."""
    client.put_object(
        bucket, "benchmark/peer/content", io.BytesIO(data), len(data), part_size=8 * MIB, num_parallel_uploads=3
    )


@contextmanager
def watched(pid: int, peaks: list[int]) -> Iterator[None]:
    """Note the highest resident memory of a process while the block runs."""
    process, over = psutil.Process(pid), threading.Event()
    peaks.append(process.memory_info().rss)

    def watch() -> None:
        while not over.wait(0.005):
            peaks[-1] = max(peaks[-1], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def compare(served: Served, settings: Settings, size: int) -> dict[str, Any]:
    """Let the arms take turns; the ratio is that of each round's rates."""
    line = b'{"messages": [' + random.Random(6).randbytes(2000).hex().encode() + b"]}\n"
    data = (line * (size // len(line) + 1))[:size]
    client = peer(settings)
    upload(served, line)
    before = psutil.Process(served.pid).memory_info().rss
    peaks: list[int] = []
    with watched(served.pid, peaks):
        made = upload(served, data)
    put(client, settings.s3_bucket, data)
    for key in (f"local/{made['id']}/content", "benchmark/peer/content"):
        digest = hashlib.sha256()
        answer = client.get_object(settings.s3_bucket, key)
        for chunk in answer.stream(MIB):
            digest.update(chunk)
        answer.close()
        assert digest.hexdigest() == made["checksum"] == hashlib.sha256(data).hexdigest()
    rates: dict[str, list[float]] = {"temper": [], "minio-py": []}
    for number in range(ROUNDS):
        for arm in list(rates) if number % 2 == 0 else list(rates)[::-1]:
            begun = time.perf_counter()
            if arm == "temper":
                with watched(served.pid, peaks):
                    upload(served, data)
            else:
                put(client, settings.s3_bucket, data)
            rates[arm].append(size / 1e6 / (time.perf_counter() - begun))
    ratios = sorted(ours / other for ours, other in zip(rates["temper"], rates["minio-py"], strict=True))
    low, *_, high = statistics.quantiles(ratios, n=10, method="inclusive")
    growth = (max(peaks) - before) / MIB
    return {
        "row": "6",
        "what": "upload MB/s through the edge ÷ raw minio-py PUT, same server",
        "mb_per_s": {arm: round(statistics.median(each), 1) for arm, each in rates.items()},
        "ratio": {"median": round(statistics.median(ratios), 3), "p10": round(low, 3), "p90": round(high, 3)},
        "edge_growth_mib": round(growth, 1),
        "edge_mib_before": round(before / MIB, 1),
        "gate": {"ratio": GATE, "growth_mib": GATE_MIB},
        "passed": low >= GATE and growth < GATE_MIB,
        "rounds": ROUNDS,
        "size_mb": round(size / 1e6),
        "versions": {name: version(name) for name in ("minio", "python-multipart", "uvicorn")}
        | {"python": platform.python_version()},
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
    }


async def make_ready(settings: Settings) -> None:
    """Topics, bucket, read models and a key."""
    assert settings.kafka_bootstrap
    assert settings.mongo_url
    await ensure_topics(settings.kafka_bootstrap)
    async with minio_blobs(settings):
        pass
    await prepare(settings.mongo_url)


def run(quick: bool = False) -> dict[str, Any]:
    """Measure on servers of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="temper-bench-") as home,
        running_stack(Path(home), "--only", "kafka,mongo,minio") as stack,
    ):
        settings = stack.settings
        asyncio.run(make_ready(settings))
        with serving(["-m", "infra.roles.app", "edge"], settings_env(settings, home=home), "/healthz") as served:
            return compare(served, settings, 64 * MIB if quick else 256 * 1000 * 1000)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="64 MiB instead of 256 MB")
    result = run(parser.parse_args().quick)
    print(json.dumps(result, indent=2, ensure_ascii=False))
    sys.exit(0 if result["passed"] else 1)
