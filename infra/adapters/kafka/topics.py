"""The topics of the log, created as Temper needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from contracts.ports import UnavailableError
from contracts.topics import TOPICS

SETTINGS: Mapping[str, str] = {
    "message.timestamp.type": "LogAppendTime",  # one clock for all publishers
    "cleanup.policy": "delete",
    "retention.ms": "-1",  # the log is the truth: nothing expires
    "retention.bytes": "-1",
    "max.message.bytes": "1048576",
}
_MUST = ("message.timestamp.type", "cleanup.policy", "retention.ms")
_EXISTS = 36
_AGAIN = frozenset({7, 41})  # timed out, not the controller
_POLL_SECONDS = 0.05


class TopicSettingsError(Exception):
    """A topic is there with settings that would lose events or give them other times."""


async def ensure_topics(
    bootstrap: str, partitions: int = 3, names: Sequence[str] | None = None, within: float = 60.0
) -> None:
    """Create the topics that are missing (all of `contracts.topics` by default) and wait until they can be written.

    Raises UnavailableError when Kafka does not answer within `within` seconds, TopicSettingsError when a topic that was
    there already would lose events.
    """
    names = list(names if names is not None else (topic.name for topic in TOPICS))
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id="temper", request_timeout_ms=10_000)
    try:
        async with asyncio.timeout(within):
            await admin.start()
            existing = await _create(admin, names, partitions)
            await _check(admin, existing)
            await _led(admin, names)
    except (TimeoutError, KafkaError, OSError) as error:
        raise UnavailableError("kafka", f"Kafka at {bootstrap} did not create the topics: {error!r}") from error
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, names: Sequence[str], partitions: int) -> list[str]:
    """Create `names`; return those that were there."""
    known = set(await admin.list_topics())
    existing = [name for name in names if name in known]
    missing = [name for name in names if name not in known]
    brokers = len((await admin.describe_cluster())["brokers"])
    copies = min(3, brokers)
    settings = {**SETTINGS, "min.insync.replicas": "2"} if copies == 3 else dict(SETTINGS)
    while missing:
        wanted = [NewTopic(name, partitions, copies, topic_configs=settings) for name in missing]
        missing = []
        for name, code, *message in (await admin.create_topics(wanted)).topic_errors:
            if code in _AGAIN:
                missing.append(name)
            elif code == _EXISTS:
                existing.append(name)
            elif code:
                raise for_code(code)(f"topic {name}: {message}")
        if missing:
            await asyncio.sleep(_POLL_SECONDS)
    return existing


async def _check(admin: AIOKafkaAdminClient, names: Sequence[str]) -> None:
    """Refuse topics whose settings contradict the log's promises."""
    if not names:
        return
    wanted = dict.fromkeys(_MUST)
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, configs=wanted) for name in names]
    for response in await admin.describe_configs(resources):
        for _code, _message, _type, topic, entries in response.resources:
            for setting, value, *_ in entries:
                if setting in _MUST and value != SETTINGS[setting]:
                    raise TopicSettingsError(
                        f"Kafka topic {topic} has {setting}={value}; Temper's log needs {SETTINGS[setting]}. "
                        f"Set it: kafka-configs.sh --alter --topic {topic} --add-config {setting}={SETTINGS[setting]}"
                    )


async def _led(admin: AIOKafkaAdminClient, names: Sequence[str]) -> None:
    """Wait until every partition has a leader."""
    while True:
        described = await admin.describe_topics(list(names))
        leaders = [partition["leader"] for topic in described for partition in topic["partitions"]]
        if len(described) == len(names) and all(topic["partitions"] for topic in described) and min(leaders) >= 0:
            return
        await asyncio.sleep(_POLL_SECONDS)
