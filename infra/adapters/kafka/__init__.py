"""Kafka: publishing, reliable subscriptions, reading the log, creating the topics."""

from infra.adapters.kafka.delivery import Delivery
from infra.adapters.kafka.producer import KafkaEmit, Published
from infra.adapters.kafka.reader import LogGapError, Place, end_offsets, read_log
from infra.adapters.kafka.reliable import Revoked, Subscription, dead_letter, nobody_revoked
from infra.adapters.kafka.topics import TopicSettingsError, ensure_topics

__all__ = [
    "Delivery",
    "KafkaEmit",
    "LogGapError",
    "Place",
    "Published",
    "Revoked",
    "Subscription",
    "TopicSettingsError",
    "dead_letter",
    "end_offsets",
    "ensure_topics",
    "nobody_revoked",
    "read_log",
]
