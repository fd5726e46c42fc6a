"""One record, one decision: what becomes of it after its handler has run, so that nothing is lost or blocks."""

from __future__ import annotations

import asyncio
import logging
import random
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError

from contracts.envelope import Event, NewerVersionError, PoisonError
from contracts.ports import Emit, UnavailableError
from infra.adapters.kafka.dead_letters import dead_letter
from infra.adapters.kafka.progress import Progress
from infra.adapters.kafka.records import to_record

MAX_TRIES = 3
MAX_WAIT_SECONDS = 30.0
_DEAD_LETTERS = "dead.letter"
_TRANSIENT = (UnavailableError, NewerVersionError, TimeoutError)
"""No fault of the record: it waits. That a server is slow is not one either."""

log = logging.getLogger(__name__)


OnFailure = Callable[[Event, str], Awaitable[None]]
"""(event, why) → whoever waits for it has been told; may be repeated."""


async def no_failure(event: Event, why: str) -> None:
    """Say nothing beside the dead letter: for functions that nobody waits for."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """A function's consumer group and what it does with an event."""

    group: str
    """A constant: the group's offsets live under this name."""
    topics: tuple[str, ...]
    handle: Callable[[Event], Awaitable[None]]
    on_failure: OnFailure = no_failure
    """What is done beside the dead letter of an event whose handler crashed."""
    deadline: float = 60.0
    """Seconds; what takes longer is work under a lease, or waits for a server that is slow."""
    optional: bool = False
    """Whether the process is well while this one waits: nobody waits for it."""


@dataclass
class _Attempt:
    """How often one record has been tried."""

    offset: int
    waits: int = 0
    crashes: int = 0


@dataclass
class RecordHandler:
    """Settles the records of one group: commits, dead letters, waits."""

    subscription: Subscription
    emit: Emit
    progress: Progress = field(default_factory=Progress)
    _attempts: dict[TopicPartition, _Attempt] = field(default_factory=dict)

    async def settle(
        self, consumer: AIOKafkaConsumer, raw: ConsumerRecord, event: Event | None, error: Exception | None
    ) -> None:
        """Commit what is dealt with; otherwise go back to the record and let only its partition wait."""
        place = TopicPartition(raw.topic, raw.partition)
        try:
            if error is not None:
                await self._judge(place, raw, event, error)
            await consumer.commit({place: raw.offset + 1})
        except (CommitFailedError, IllegalStateError, ConsumerStoppedError):
            return  # the partition moved or the consumer closes: its next owner gets the record again
        except Exception as error:  # noqa: BLE001  whatever it is, the record must not be lost
            self._wait(consumer, place, raw.offset, error)
        else:
            self._attempts.pop(place, None)
            self.progress.done(place, raw.offset)

    async def _judge(self, place: TopicPartition, raw: ConsumerRecord, event: Event | None, error: Exception) -> None:
        """Return when the record is dealt with by other means than its handler; raise what it has to wait for."""
        if isinstance(error, PoisonError):
            await self._dead_letter(raw, event, error.code, str(error), tries=1)
            return
        if isinstance(error, _TRANSIENT):
            raise error
        attempt = self._attempt(place, raw.offset)
        attempt.crashes += 1
        where = f"{self.subscription.group}: {place.topic}/{place.partition}@{raw.offset}"
        log.error("%s: try %d of %d crashed", where, attempt.crashes, MAX_TRIES, exc_info=error)
        if attempt.crashes < MAX_TRIES:
            raise error
        if event is not None:
            await self._tell(event, error)
        await self._dead_letter(raw, event, "crashed", f"the function crashed: {_place(error)}", attempt.crashes)

    async def _tell(self, event: Event, error: Exception) -> None:
        try:
            await self.subscription.on_failure(event, f"its function crashed ({type(error).__name__})")
        except _TRANSIENT:
            raise
        except Exception:
            log.exception("%s: telling of the failure crashed too", self.subscription.group)

    async def _dead_letter(self, raw: ConsumerRecord, event: Event | None, code: str, message: str, tries: int) -> None:
        group = self.subscription.group
        log.warning("%s: %s/%s@%s is a dead letter: %s: %s", group, raw.topic, raw.partition, raw.offset, code, message)
        if raw.topic == _DEAD_LETTERS:
            return  # it would follow itself for ever
        await self.emit(dead_letter(group, to_record(raw), code, message, tries, event))

    def _attempt(self, place: TopicPartition, offset: int) -> _Attempt:
        attempt = self._attempts.get(place)
        if attempt is None or attempt.offset != offset:
            attempt = self._attempts[place] = _Attempt(offset)
        return attempt

    def _wait(self, consumer: AIOKafkaConsumer, place: TopicPartition, offset: int, error: Exception) -> None:
        attempt = self._attempt(place, offset)
        attempt.waits += 1
        seconds = min(MAX_WAIT_SECONDS, 0.1 * 2 ** min(attempt.waits, 16)) * random.uniform(0.5, 1.0)
        reason = self._reason(error)
        log.warning(
            "%s: %s/%s waits %.1f s: %s", self.subscription.group, place.topic, place.partition, seconds, reason
        )
        try:
            consumer.seek(place, offset)
            consumer.pause(place)
        except IllegalStateError:
            return  # the partition moved: its next owner gets the record again
        self.progress.waiting[place] = reason
        asyncio.get_running_loop().call_later(seconds, _resume, consumer, place)

    def _reason(self, error: Exception) -> str:
        if isinstance(error, UnavailableError):
            return f"{error.dependency}: {error}"
        if isinstance(error, NewerVersionError):
            return f"newer_version: {error}. Upgrade this Temper"
        if isinstance(error, TimeoutError):
            return f"slow: it was not done within {self.subscription.deadline:.0f} s, and is tried again"
        return f"crashed: {_place(error)}"


def _resume(consumer: AIOKafkaConsumer, place: TopicPartition) -> None:
    try:
        consumer.resume(place)
    except IllegalStateError:
        return  # the partition moved


def _place(error: Exception) -> str:
    """Name the error and where it was raised; its text may hold what no event may say."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
