"""P2, P5: killed again and again, two workers do all that there is to do, and set aside what cannot be done."""

import asyncio
import random
import signal
import subprocess
import sys
from collections import Counter
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from contracts.events.dead import DeadLetter
from infra.children.launch import launching
from infra.settings import Settings
from tests.connected.garbage import GARBAGE, TOPIC, Raw, outside, signed, uploaded
from tests.connected.log import Tap, begin_here, lag, until

pytestmark = [pytest.mark.connected, pytest.mark.slow]

EVENTS = 500
SEED = 20261121
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL]


def start(bootstrap: str, group: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.connected.delivery_worker", bootstrap, group]
    return subprocess.Popen([*launching(), *command])


async def publish(bootstrap: str, records: list[Raw]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        for raw in records:
            await producer.send_and_wait(TOPIC, key=raw.key, value=raw.value, headers=raw.headers)
            await asyncio.sleep(0.005)
    finally:
        await producer.stop()


async def test_nothing_is_lost_and_nothing_blocks(servers: Settings) -> None:
    bootstrap, group = servers.kafka_bootstrap, f"test-{uuid4().hex}"
    assert bootstrap
    chance = random.Random(SEED)
    await begin_here(bootstrap, group, [TOPIC])
    tap = await Tap.open(bootstrap, "file.deleted", "dead.letter")

    events = [uploaded(str(number), subject=f"file-{number % 40:032x}") for number in range(EVENTS)]
    records = [signed(event) for event in [*events, *chance.sample(events, 50)]]
    records += [outside() for _ in range(10)]
    for raw in records[-10:]:  # believed, and no numbers: the worker crashes over them
        raw.value = raw.value and raw.value.replace(b'"filename":"1"', b'"filename":"no number"')
    records += [garbage() for _, garbage in GARBAGE.values()]
    chance.shuffle(records)

    publishing = asyncio.create_task(publish(bootstrap, records))
    workers = [start(bootstrap, group), start(bootstrap, group)]
    try:
        for number in SIGNALS:
            await asyncio.sleep(chance.uniform(1.0, 2.5))
            which = chance.randrange(2)
            workers[which].send_signal(number)
            await asyncio.to_thread(workers[which].wait, 15)
            workers[which] = start(bootstrap, group)
        await publishing

        async def done() -> bool:
            return await lag(bootstrap, group, [TOPIC]) == 0

        await until(done, within=90)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()

    said = await tap.events()
    effects = {event.id: event for event in said if event.type == "file.deleted"}
    dead = {event.id: event.data for event in said if isinstance(event.data, DeadLetter)}
    letters = [letter for letter in dead.values() if letter.function == group]
    assert {event.cause for event in effects.values()} == {event.id for event in events}
    assert len(effects) == EVENTS
    expected = Counter(code for code, _ in GARBAGE.values())
    assert Counter(letter.code for letter in letters) == expected + Counter(crashed=10)
    assert len({(letter.topic, letter.partition, letter.offset) for letter in letters}) == len(letters)
