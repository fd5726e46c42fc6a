"""What a consumer group does: health is progress, not a ping."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

STUCK_SECONDS = 45.0


@dataclass
class Progress:
    """Lag, waits and the last thing done of one group in this process."""

    next: dict[TopicPartition, int] = field(default_factory=dict)
    """The offset after the last one done."""
    waiting: dict[TopicPartition, str] = field(default_factory=dict)
    """Partitions that wait, and for what: a sentence."""
    lag: int | None = None
    """Records not yet done in the partitions that this process holds; None until it is known."""
    moved: float = field(default_factory=time.monotonic)
    """When something was last done, or nothing was left to do."""

    def done(self, place: TopicPartition, offset: int) -> None:
        """Note that the record at `offset` is dealt with."""
        self.next[place] = offset + 1
        self.waiting.pop(place, None)
        self.moved = time.monotonic()

    async def look(self, consumer: AIOKafkaConsumer) -> None:
        """Ask Kafka for the lag; raises KafkaError."""
        held = consumer.assignment()
        self.waiting = {place: why for place, why in self.waiting.items() if place in held}
        ends = await consumer.end_offsets(held) if held else {}
        lag = 0
        for place, end in ends.items():
            if end > self.next.get(place, 0):  # somebody else may have had the partition meanwhile
                committed = await consumer.committed(place) or 0
                self.next[place] = max(self.next.get(place, 0), committed)
            lag += max(0, end - self.next.get(place, 0))
        self.lag = lag
        if lag == 0:
            self.moved = time.monotonic()

    def status(self) -> dict[str, Any]:
        """Return lag, seconds without progress, waits and `state`: ok, waiting (for a dependency) or stuck."""
        idle = time.monotonic() - self.moved
        stuck = idle > STUCK_SECONDS and self.lag != 0
        return {
            "state": "waiting" if self.waiting else "stuck" if stuck else "ok",
            "lag": self.lag,
            "idle_s": round(idle, 1),
            "waiting": {f"{place.topic}/{place.partition}": why for place, why in sorted(self.waiting.items())},
        }


async def pause_for(event: asyncio.Event, seconds: float) -> bool:
    """Wait for `event`, at most `seconds`; return whether it came."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
