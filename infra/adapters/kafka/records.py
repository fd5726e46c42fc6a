"""Kafka records as contracts know them."""

from __future__ import annotations

from aiokafka import ConsumerRecord

from contracts.envelope import Record


def to_record(raw: ConsumerRecord) -> Record:
    """Return what came from Kafka as the record that `envelope.read` judges."""
    return Record(
        topic=raw.topic,
        key=raw.key,
        headers=raw.headers,
        value=raw.value,
        at=raw.timestamp,
        partition=raw.partition,
        offset=raw.offset,
    )
