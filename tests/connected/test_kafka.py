"""P1: publishing, reading and the topics, on a real broker."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata

from contracts import envelope
from contracts.envelope import Event
from contracts.events.files import FileDeleted
from contracts.ports import UnavailableError
from infra.adapters.kafka import (
    Delivery,
    KafkaEmit,
    LogGapError,
    Subscription,
    TopicSettingsError,
    end_offsets,
    ensure_topics,
    look_at_log,
    read_log,
)
from infra.local.ports import LOOPBACK, LocalPorts
from infra.runtime.belief import Belief
from infra.runtime.folding import ALL
from infra.settings import Settings
from tests.connected.log import KEY, Tap, begin_here, until
from tests.stack import Stack, running_stack

pytestmark = pytest.mark.connected


def deleted(subject: str | None = None) -> Event:
    return envelope.make(FileDeleted(), subject=subject or f"file-{uuid4().hex}", tenant="local", id=str(uuid4()))


@pytest.fixture
def bootstrap(servers: Settings) -> str:
    assert servers.kafka_bootstrap
    return servers.kafka_bootstrap


@pytest.fixture
async def emit(bootstrap: str) -> AsyncIterator[KafkaEmit]:
    emit = KafkaEmit(bootstrap, KEY)
    yield emit
    await emit.stop()


async def test_the_whole_log_is_looked_at_in_a_few_questions_however_many_topics_it_has(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ensure_topics(bootstrap)
    await end_offsets(bootstrap, ALL)  # by then every topic has a leader
    asked, update = [], AIOKafkaClient._metadata_update

    async def counted(client: AIOKafkaClient, *about: Any) -> bool:
        asked.append(about)
        return bool(await update(client, *about))

    monkeypatch.setattr(AIOKafkaClient, "_metadata_update", counted)
    found = await look_at_log(bootstrap, ALL)
    assert {topic for topic, _ in found.ends} == set(ALL)
    assert len(asked) < 5
    asked.clear()
    assert await end_offsets(bootstrap, ALL) == found.ends
    assert len(asked) < 5


async def test_a_first_answer_that_is_late_is_waited_for(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await ensure_topics(bootstrap)
    update, closed = AIOKafkaClient._metadata_update, 0

    async def closed_once(client: AIOKafkaClient, cluster: ClusterMetadata, about: Any) -> bool:
        nonlocal closed
        if cluster is not client.cluster and not closed:
            closed += 1
            return False  # what it says when the answer to another question has closed the connection of this one
        return bool(await update(client, cluster, about))

    monkeypatch.setattr(AIOKafkaClient, "_metadata_update", closed_once)
    assert await end_offsets(bootstrap, ALL)
    assert closed


async def test_a_producer_stuck_on_its_sequence_is_replaced(bootstrap: str, emit: KafkaEmit) -> None:
    tap = await Tap.open(bootstrap, "file.deleted")
    event = deleted()
    first = await emit.publish(event.type, event.subject.encode(), envelope.body(event), envelope.headers(event, KEY))
    producer = emit._producer
    assert producer is not None
    # a batch that was numbered and never sent, as an expired one
    producer._txn_manager.increment_sequence_number(TopicPartition(event.type, first.partition), 1)
    again = await emit(event)
    assert emit._producer is not producer
    assert [each.id for each in await tap.events()] == [event.id, event.id]
    assert again.at >= first.at


async def test_a_topic_without_the_brokers_time_is_refused(bootstrap: str, emit: KafkaEmit) -> None:
    name = f"test-{uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        settings = {"message.timestamp.type": "CreateTime"}
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs=settings)])
        with pytest.raises(UnavailableError, match="LogAppendTime"):
            await emit.publish(name, b"k", b"{}", [])
        with pytest.raises(TopicSettingsError, match=rf"{name} has message\.timestamp\.type=CreateTime.*kafka-configs"):
            await ensure_topics(bootstrap, names=[name])
    finally:
        await admin.delete_topics([name])
        await admin.close()


async def test_topics_are_made_once_and_can_be_written_at_once(bootstrap: str, emit: KafkaEmit) -> None:
    names = [f"test-{uuid4().hex}" for _ in range(5)]
    await asyncio.gather(ensure_topics(bootstrap, names=names), ensure_topics(bootstrap, names=names))
    await ensure_topics(bootstrap, names=names)
    await asyncio.gather(*(emit.publish(name, str(key).encode(), b"{}", []) for name in names for key in range(9)))
    ends = await end_offsets(bootstrap, names)
    assert len(ends) == 15
    assert sum(ends.values()) == 45


async def test_a_bounded_read_gives_all_up_to_the_end_and_no_more(bootstrap: str, emit: KafkaEmit) -> None:
    tap = await Tap.open(bootstrap, "file.deleted", "key.revoked")
    events = await asyncio.gather(*(emit(deleted()) for _ in range(300)))
    end = await end_offsets(bootstrap, tap.topics)
    await emit(deleted())
    batches = [batch async for batch in read_log(bootstrap, tap.topics, tap.begin, end, max_records=100)]
    assert all(batches)
    read = [record for batch in batches for record in batch]
    assert {envelope.read(record, KEY, None).id for record in read} == {event.id for event in events}
    assert len(read) == 300
    for place in end:
        offsets = [record.offset for record in read if (record.topic, record.partition) == place]
        assert offsets == list(range(tap.begin[place], end[place]))


async def test_a_read_of_nothing_ends(bootstrap: str) -> None:
    end = await end_offsets(bootstrap, ["file.deleted"])
    assert [batch async for batch in read_log(bootstrap, ["file.deleted"], end, end)] == []


async def test_a_live_read_goes_on_and_tells_when_nothing_comes(bootstrap: str, emit: KafkaEmit) -> None:
    tap = await Tap.open(bootstrap, "file.deleted")
    reading = read_log(bootstrap, tap.topics, tap.begin, idle=0.1)
    async with asyncio.timeout(20):
        assert await anext(reading) == []
        event = await emit(deleted())
        while not (batch := await anext(reading)):
            pass
    assert [(record.key, record.at) for record in batch] == [(event.subject.encode(), event.at)]
    await reading.aclose()


async def test_positions_that_the_log_does_not_have_are_not_skipped(bootstrap: str) -> None:
    end = await end_offsets(bootstrap, ["file.deleted"])
    beyond = {place: offset + 5 for place, offset in end.items()}
    with pytest.raises(LogGapError, match=r"file\.deleted/0 ends at"):
        await anext(read_log(bootstrap, ["file.deleted"], beyond))


async def test_no_broker_is_transient_in_every_way_to_reach_it() -> None:
    nowhere = f"{LOOPBACK}:{LocalPorts({}, usual=False).choose('nowhere', 0)}"
    emit = KafkaEmit(nowhere, KEY, deadline=2)
    with pytest.raises(UnavailableError, match=nowhere):
        await emit.start()
    with pytest.raises(UnavailableError, match="did not acknowledge"):
        await emit(deleted())
    await emit.stop()
    with pytest.raises(UnavailableError, match=nowhere):
        await end_offsets(nowhere, ["file.deleted"])
    with pytest.raises(UnavailableError, match=nowhere):
        await anext(read_log(nowhere, ["file.deleted"]))
    with pytest.raises(UnavailableError, match=nowhere):
        await ensure_topics(nowhere, within=2)


@pytest.mark.slow
async def test_a_broker_that_hangs_or_dies_loses_nothing(tmp_path: Path) -> None:
    with running_stack(tmp_path, "--only", "kafka") as stack:
        bootstrap = stack.settings.kafka_bootstrap
        assert bootstrap
        await survive(stack, bootstrap)


async def survive(stack: Stack, bootstrap: str) -> None:
    seen: set[str] = set()

    async def handle(event: Event) -> None:
        seen.add(event.id)

    await ensure_topics(bootstrap)
    emit = KafkaEmit(bootstrap, KEY, deadline=3)
    subscription = Subscription("test", ("file.deleted",), handle)
    delivery = Delivery(bootstrap, [subscription], emit, Belief(bootstrap, KEY, None))
    await begin_here(bootstrap, "test", ["file.deleted"])
    delivery.start()
    await delivery.ready()
    acknowledged = [await emit(deleted())]

    stack.kill("kafka", signal.SIGSTOP)
    unknown = deleted()
    with pytest.raises(UnavailableError):
        await emit(unknown)
    await until(lambda: delivery.status()["status"] == "stuck", within=15)
    assert "does not answer" in delivery.status()["kafka"]
    stack.kill("kafka", signal.SIGCONT)
    acknowledged.append(await again(emit, unknown))

    before = stack.kill("kafka", signal.SIGKILL)
    acknowledged.append(await again(emit, deleted()))
    assert stack.process("kafka").pid != before
    await until(lambda: seen == {event.id for event in acknowledged}, within=60)
    await until(lambda: delivery.status()["status"] == "ok", within=30)
    await delivery.stop()
    await emit.stop()


async def again(emit: KafkaEmit, event: Event) -> Event:
    """Publish as every caller does: the same event until Kafka has acknowledged it."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await emit(event)
            except UnavailableError:
                await asyncio.sleep(0.1)


async def test_a_missing_topic_is_named(bootstrap: str) -> None:
    emit = KafkaEmit(bootstrap, KEY, deadline=1)
    with pytest.raises(UnavailableError, match="no topic test-nowhere; `temper up` creates"):
        await emit.publish("test-nowhere", b"k", b"{}", [])
    with pytest.raises(UnavailableError, match="no topic test-nowhere"):
        await anext(read_log(bootstrap, ["test-nowhere"]))
    await emit.stop()


async def test_a_producer_that_is_cancelled_in_its_start_leaves_no_connection(bootstrap: str) -> None:
    for turns in range(1, 400, 7):
        emit = KafkaEmit(bootstrap, KEY)
        starting = asyncio.create_task(emit.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await emit.stop()
    gc.collect()  # what is left open warns then, which is an error
