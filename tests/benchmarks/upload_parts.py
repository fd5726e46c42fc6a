"""Memory of the edge, and MB per second, while a file comes in 40 parallel parts by OpenAI's client.

The joined bytes' SHA-256 and MD5 are those of what was sent; the edge grows by less than 64 MiB, whatever the size.
Parts of an odd size let the store's least part (5 MiB) be met too.

`python -m tests.benchmarks.upload_parts [MIB]`
"""

import asyncio
import hashlib
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from openai import OpenAI

from infra.settings import Settings
from tests.benchmarks.edge_process import KEY, Served, serving, settings_env
from tests.benchmarks.upload import MIB, make_ready, watched
from tests.stack import running_stack

AT_ONCE = 40
GATE_MIB = 64
NOISE = os.urandom(4 * MIB)


def piece(number: int, size: int) -> bytes:
    """Return the bytes of a part, which no other part has; the first begins as rows do."""
    start = b'{"messages": [' if number == 0 else number.to_bytes(8, "big")
    return (start + NOISE * (size // len(NOISE) + 1))[:size]


def measure(served: Served, mib: int) -> dict[str, Any]:
    """Upload `mib` MiB and say what it took."""
    client = OpenAI(base_url=f"http://127.0.0.1:{served.port}/v1", api_key=KEY, _strict_response_validation=True)
    sizes = [mib * MIB // AT_ONCE] * (AT_ONCE - 1)
    sizes.append(mib * MIB - sum(sizes))
    while sizes[0] > 64 * MIB:
        sizes = [half for size in sizes for half in (size // 2, size - size // 2)]
    whole, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    for number, size in enumerate(sizes):
        whole.update(piece(number, size))
        md5.update(piece(number, size))
    client.uploads.upload_file_chunked(  # warm
        file=piece(0, 1000), filename="a.jsonl", bytes=1000, mime_type="text/jsonl", purpose="fine-tune"
    )
    before = psutil.Process(served.pid).memory_info().rss
    peaks: list[int] = []
    begun = time.perf_counter()
    with watched(served.pid, peaks):
        upload = client.uploads.create(bytes=mib * MIB, filename="a.jsonl", mime_type="text/jsonl", purpose="fine-tune")

        def send(numbered: tuple[int, int]) -> str:
            number, size = numbered
            return client.uploads.parts.create(upload.id, data=piece(number, size)).id

        with ThreadPoolExecutor(AT_ONCE) as pool:
            ids = list(pool.map(send, enumerate(sizes)))
        sent = time.perf_counter()
        done = client.uploads.complete(upload.id, part_ids=ids, md5=md5.hexdigest())
    ended = time.perf_counter()
    assert done.file
    assert done.file.to_dict()["checksum"] == whole.hexdigest()
    stored = hashlib.sha256()
    with client.files.with_streaming_response.content(done.file.id) as answer:
        for chunk in answer.iter_bytes(MIB):
            stored.update(chunk)
    assert stored.hexdigest() == whole.hexdigest()
    growth = (max(peaks) - before) / MIB
    return {
        "what": f"{mib} MiB in {len(sizes)} parts, {AT_ONCE} at a time",
        "parts_mb_per_s": round(mib * MIB / 1e6 / (sent - begun), 1),
        "complete_seconds": round(ended - sent, 1),
        "edge_mib_before": round(before / MIB, 1),
        "edge_growth_mib": round(growth, 1),
        "gate": {"growth_mib": GATE_MIB},
        "passed": growth < GATE_MIB,
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
    }


def run(mib: int) -> dict[str, Any]:
    """Measure on servers of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="temper-bench-") as home,
        running_stack(Path(home), "--only", "kafka,mongo,minio") as stack,
    ):
        settings: Settings = stack.settings
        asyncio.run(make_ready(settings))
        with serving(["-m", "infra.roles.app", "edge"], settings_env(settings, home=home), "/healthz") as served:
            return measure(served, mib)


if __name__ == "__main__":
    result = run(int(sys.argv[1]) if len(sys.argv) > 1 else 2048)
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)
