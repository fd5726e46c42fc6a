"""Kafka: publishing, reliable subscriptions, reading the log, creating the topics."""

from infra.adapters.kafka.dead_letters import dead_letter
from infra.adapters.kafka.delivery import Delivery
from infra.adapters.kafka.producer import KafkaEmit, Published
from infra.adapters.kafka.reader import LogGapError, LogState, LogTail, Place, end_offsets, look_at_log, read_log
from infra.adapters.kafka.reliable import Subscription
from infra.adapters.kafka.topics import TopicSettingsError, ensure_topics

__all__ = [
    "Delivery",
    "KafkaEmit",
    "LogGapError",
    "LogState",
    "LogTail",
    "Place",
    "Published",
    "Subscription",
    "TopicSettingsError",
    "dead_letter",
    "end_offsets",
    "ensure_topics",
    "look_at_log",
    "read_log",
]
