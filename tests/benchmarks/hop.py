"""Event hop p50 through Temper's subscription ÷ that of a bare aiokafka consumer (BENCHMARKS row 3, at most 1.6).

A hop lasts from just before an event is published until its function begins. Both arms use the same publisher
(acks=all, idempotent), read and check the same envelope, and commit after every message; they take turns on one broker.

`python -m tests.benchmarks.hop [--quick]`
"""

import argparse
import asyncio
import json
import logging
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client import CollectorRegistry

from contracts import envelope
from contracts.blobs import BlobRef
from contracts.envelope import Event
from contracts.events.files import FileUploaded
from infra.adapters.kafka import Delivery, KafkaEmit, Subscription
from infra.adapters.kafka.records import to_record
from infra.runtime.belief import Belief
from tests.connected.log import KEY, begin_here
from tests.stack import running_stack

TOPIC = "file.uploaded"
ROUNDS = 5
GAP_S = 0.008  # no event waits for the one before
GATE = 1.6

Seen = Callable[[Event], None]


@asynccontextmanager
async def subscription(bootstrap: str, group: str, seen: Seen) -> AsyncIterator[None]:
    """Temper's arm."""

    async def handle(event: Event) -> None:
        seen(event)

    emit = KafkaEmit(bootstrap, KEY)
    groups = [Subscription(group, (TOPIC,), handle)]
    delivery = Delivery(bootstrap, groups, emit, Belief(bootstrap, KEY, None), CollectorRegistry())
    delivery.start()
    await delivery.ready()
    yield
    await delivery.stop()
    await emit.stop()


@asynccontextmanager
async def bare(bootstrap: str, group: str, seen: Seen) -> AsyncIterator[None]:
    """The peer: a consumer in a loop, with the same settings."""
    consumer = AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=6_000,
        heartbeat_interval_ms=1_000,
    )
    await consumer.start()

    async def consume() -> None:
        while True:
            raw = await consumer.getone()
            seen(envelope.read(to_record(raw), KEY, None))
            await consumer.commit({TopicPartition(raw.topic, raw.partition): raw.offset + 1})

    task = asyncio.create_task(consume())
    yield
    task.cancel()
    await asyncio.wait([task])
    await consumer.stop()


ARMS = {"temper": subscription, "aiokafka": bare}


def uploaded(number: int) -> Event:
    """An event of usual size."""
    blob = BlobRef(key=f"local/file-{number:032x}/content", sha256="0" * 64, bytes=1)
    data = FileUploaded(blob=blob, filename=str(number), purpose="fine-tune")
    return envelope.make(data, subject=f"file-{number:032x}", tenant="local", id=str(uuid4()))


async def measure(bootstrap: str, arm: str, emit: Callable[[Event], Awaitable[Event]], events: int) -> list[float]:
    """Return the hops of one turn in milliseconds; asserts that every event came exactly once and in full."""
    group = f"bench-{uuid4().hex}"
    await begin_here(bootstrap, group, [TOPIC])
    sent: dict[str, float] = {}
    hops: dict[str, float] = {}
    came: list[Event] = []

    def seen(event: Event) -> None:
        hops[event.id] = (time.perf_counter() - sent[event.id]) * 1e3
        came.append(event)

    async with ARMS[arm](bootstrap, group, seen):
        published = []
        for number in range(-20, events):  # the first warm the connections and the partitions up
            event = uploaded(abs(number))
            sent[event.id] = time.perf_counter()
            published.append(await emit(event))
            await asyncio.sleep(GAP_S if number >= 0 else 0.05)
        async with asyncio.timeout(30):
            while len(came) < len(published):
                await asyncio.sleep(0.01)
    assert sorted(came, key=lambda event: event.id) == sorted(published, key=lambda event: event.id)
    return [hops[event.id] for event in published[20:]]


async def compare(bootstrap: str, events: int) -> dict[str, Any]:
    """Let the arms take turns; the ratio is that of each round's medians."""
    emit = KafkaEmit(bootstrap, KEY)
    for arm in ARMS:
        await measure(bootstrap, arm, emit, events // 4)
    p50: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for number in range(ROUNDS):
        for arm in list(ARMS) if number % 2 == 0 else list(ARMS)[::-1]:
            p50[arm].append(statistics.median(await measure(bootstrap, arm, emit, events)))
    await emit.stop()
    ratios = sorted(ours / peer for ours, peer in zip(p50["temper"], p50["aiokafka"], strict=True))
    low, *_, high = statistics.quantiles(ratios, n=10, method="inclusive")
    return {
        "row": "3",
        "what": "event hop p50 ÷ bare aiokafka hop, publish to function",
        "hop_p50_ms": {arm: round(statistics.median(hops), 3) for arm, hops in p50.items()},
        "ratio": {
            "median": round(statistics.median(ratios), 3),
            "p10": round(low, 3),
            "p90": round(high, 3),
        },
        "gate": GATE,
        "passed": high <= GATE,
        "rounds": ROUNDS,
        "events": events,
        "versions": {name: version(name) for name in ("aiokafka", "faststream")}
        | {"python": platform.python_version()},
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
    }


def run(quick: bool = False) -> dict[str, Any]:
    """Measure on a broker of its own."""
    logging.disable(logging.WARNING)
    with (
        tempfile.TemporaryDirectory(prefix="temper-bench-") as home,
        running_stack(Path(home), "--only", "kafka") as stack,
    ):
        bootstrap = stack.settings.kafka_bootstrap
        assert bootstrap
        return asyncio.run(compare(bootstrap, 100 if quick else 400))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer events a round")
    result = run(parser.parse_args().quick)
    print(json.dumps(result, indent=2, ensure_ascii=False))
    sys.exit(0 if result["passed"] else 1)
