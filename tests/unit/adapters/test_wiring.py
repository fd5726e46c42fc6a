"""A record of a topic reaches each function that declared it, and is counted; with FastStream's own test broker."""

from __future__ import annotations

from typing import Any

from faststream.kafka import TestKafkaBroker
from prometheus_client import CollectorRegistry

from contracts.envelope import Event, Record, make
from contracts.events.files import FileDeleted
from infra.adapters.kafka import Delivery, Subscription
from infra.runtime.functions import declared

SAID = make(FileDeleted(), subject="file-1", tenant="local", id="deleted")


async def test_a_record_reaches_whoever_declared_its_topic_and_is_counted() -> None:
    heard: list[str] = []

    def listening(name: str) -> Subscription:
        async def handle(event: Event) -> None:
            assert event == SAID
            heard.append(name)

        return Subscription(name, declared()[name].topics, handle)

    async def believe(record: Record) -> Event:
        assert (record.topic, record.value) == ("file.deleted", b"{}")
        return SAID

    unused: Any = None
    metrics = CollectorRegistry()
    there = [listening(name) for name, each in declared().items() if each.reactions]
    delivery = Delivery("nowhere:9092", there, unused, believe, metrics)
    async with TestKafkaBroker(delivery.new_broker()) as broker:
        await broker.publish(b"{}", "file.deleted")
    assert sorted(heard) == ["erase_content", "prepare_job", "track_runs"]
    counted = {"app_name": "temper", "broker": "kafka", "handler": "file.deleted"}
    assert metrics.get_sample_value("faststream_received_messages_total", counted) == 3
