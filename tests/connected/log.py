"""The real log in tests: shared by the whole run, so each test looks only at what came after it began."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts import envelope
from contracts.envelope import Event, Record
from infra.adapters.kafka import Place, end_offsets, ensure_topics, read_log

KEY = b"the signing key of the tests"


@dataclass(frozen=True)
class Tap:
    """Some topics from a moment on."""

    bootstrap: str
    topics: tuple[str, ...]
    begin: dict[Place, int]

    @classmethod
    async def open(cls, bootstrap: str, *topics: str) -> Tap:
        """Look at what comes from now on."""
        await ensure_topics(bootstrap)
        return cls(bootstrap, topics, await end_offsets(bootstrap, topics))

    async def records(self) -> list[Record]:
        """What has come so far."""
        end = await end_offsets(self.bootstrap, self.topics)
        return [each async for batch in read_log(self.bootstrap, self.topics, self.begin, end) for each in batch]

    async def events(self) -> list[Event]:
        """What has come so far, believed."""
        return [envelope.read(record, KEY, None) for record in await self.records()]


async def begin_here(bootstrap: str, group: str, topics: Sequence[str]) -> None:
    """Let a new group begin at the present end of `topics`, past what other tests have left."""
    await ensure_topics(bootstrap)
    ends = await end_offsets(bootstrap, topics)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        places = {TopicPartition(*place): end for place, end in ends.items()}
        consumer.assign(list(places))
        await consumer.commit(places)
    finally:
        await consumer.stop()


async def lag(bootstrap: str, group: str, topics: Sequence[str]) -> int:
    """How many records a group has not committed."""
    ends = await end_offsets(bootstrap, topics)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        committed = {place: await consumer.committed(TopicPartition(*place)) or 0 for place in ends}
    finally:
        await consumer.stop()
    return sum(end - committed[place] for place, end in ends.items())


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], within: float = 90.0) -> None:
    """Return when `condition` holds; raises TimeoutError."""
    async with asyncio.timeout(within):
        while True:
            holds = condition()
            if await holds if isinstance(holds, Awaitable) else holds:
                return
            await asyncio.sleep(0.02)
