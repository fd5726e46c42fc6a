"""Reading the log in batches, by assignment and never in a live group: for the projector, replay and rebuild."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from contracts.cancellation import to_its_end
from contracts.envelope import Record
from contracts.ports import UnavailableError
from infra.adapters.kafka.records import to_record

Place = tuple[str, int]
"""(topic, partition)"""

_REQUEST_MS = 30_000
"""Kafka's own default: a broker on a slow disk may keep a request for many seconds."""
_SILENT_SECONDS = 20.0
"""A bounded read that gets nothing for this long has lost its broker."""


class LogGapError(Exception):
    """Kafka does not have the offsets that were asked for: another or a shortened log."""


@dataclass(frozen=True, slots=True)
class LogState:
    """Which log a Kafka holds, and from where to where."""

    cluster: str | None
    """The cluster's id, where it tells one."""
    beginnings: Mapping[Place, int]
    ends: Mapping[Place, int]


async def look_at_log(bootstrap: str, topics: Iterable[str]) -> LogState:
    """Return what there is of `topics`, those that are missing left out; raises UnavailableError."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id="temper", request_timeout_ms=_REQUEST_MS)
    consumer = _consumer(bootstrap)
    try:
        await to_its_end(admin.start())
        cluster = (await admin.describe_cluster()).get("cluster_id")
        await to_its_end(consumer.start())
        places = await _places(consumer, topics, skip_missing=True)
        beginnings, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    except (KafkaError, OSError) as error:
        raise _away(bootstrap, error) from error
    finally:
        await consumer.stop()
        await admin.close()
    return LogState(
        cluster,
        {(place.topic, place.partition): offset for place, offset in beginnings.items()},
        {(place.topic, place.partition): offset for place, offset in ends.items()},
    )


async def end_offsets(bootstrap: str, topics: Iterable[str]) -> dict[Place, int]:
    """Return the next offset to be written of every partition of `topics`; raises UnavailableError."""
    consumer = _consumer(bootstrap)
    try:
        await to_its_end(consumer.start())
        return await _ends(consumer, await _places(consumer, topics))
    except (KafkaError, OSError) as error:
        raise _away(bootstrap, error) from error
    finally:
        await consumer.stop()


async def _ends(consumer: AIOKafkaConsumer, places: Sequence[TopicPartition]) -> dict[Place, int]:
    ends = await consumer.end_offsets(places)
    return {(place.topic, place.partition): offset for place, offset in ends.items()}


async def read_log(
    bootstrap: str,
    topics: Sequence[str],
    from_offsets: Mapping[Place, int] | None = None,
    to_offsets: Mapping[Place, int] | None = None,
    *,
    max_records: int = 2000,
    idle: float = 1.0,
    positions: MutableMapping[Place, int] | None = None,
) -> AsyncGenerator[list[Record], None]:
    """Yield batches of records, in order within each partition.

    With `to_offsets` the read ends when every partition has reached its offset; one that it leaves out is not read.
    Without, it goes on for ever and yields an empty batch whenever nothing came for `idle` seconds, an outage included.
    Partitions that `from_offsets` leaves out are read from their beginning. An endless read writes into `positions`
    how far it is after each batch: a transaction's marker has an offset and no record.
    Raises UnavailableError (at the start, or when a bounded read gets nothing for 20 s) and LogGapError.
    """
    consumer = _consumer(bootstrap)
    try:
        await to_its_end(consumer.start())
        places = await _places(consumer, topics)
        consumer.assign(places)
        await _seek(consumer, places, from_offsets or {})
        if to_offsets is None:
            async for batch in _live(consumer, max_records, idle):
                if positions is not None:
                    at = {place: await consumer.position(place) for place in places}
                    positions.update({(place.topic, place.partition): offset for place, offset in at.items()})
                yield batch
        else:
            async for batch in _bounded(consumer, places, to_offsets, max_records):
                yield batch
    except OffsetOutOfRangeError as error:
        raise LogGapError(f"Kafka at {bootstrap} does not hold the offsets {error}") from error
    except (KafkaError, OSError) as error:
        raise _away(bootstrap, error) from error
    finally:
        await consumer.stop()


class LogTail:
    """Some topics, read on to their present end whenever it is asked for; in between it asks Kafka for nothing."""

    def __init__(self, bootstrap: str, topics: Sequence[str]) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._consumer: AIOKafkaConsumer | None = None

    async def read(self) -> AsyncGenerator[list[Record], None]:
        """Yield what came since the last time, everything at first and after a failure; raises UnavailableError."""
        try:
            if self._consumer is None:
                self._consumer = _consumer(self._bootstrap)
                await to_its_end(self._consumer.start())
                self._consumer.assign(await _places(self._consumer, self._topics))
                await self._consumer.seek_to_beginning()
            places = sorted(self._consumer.assignment())
            ends = await _ends(self._consumer, places)
            self._consumer.resume(*places)
            async for batch in _bounded(self._consumer, places, ends, 2000):
                yield batch
        except BaseException as error:  # what was fetched and not yielded would be lost
            await self.close()
            if isinstance(error, KafkaError | OSError):
                raise _away(self._bootstrap, error) from error
            raise

    async def close(self) -> None:
        """Let Kafka go; the next `read` begins anew."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()


async def _live(consumer: AIOKafkaConsumer, max_records: int, idle: float) -> AsyncIterator[list[Record]]:
    while True:
        fetched = await consumer.getmany(timeout_ms=int(idle * 1000), max_records=max_records)
        yield [to_record(raw) for batch in fetched.values() for raw in batch]


async def _bounded(
    consumer: AIOKafkaConsumer, places: Sequence[TopicPartition], ends: Mapping[Place, int], max_records: int
) -> AsyncIterator[list[Record]]:
    stop = {place: ends.get((place.topic, place.partition), 0) for place in places}
    left = {place for place in places if await consumer.position(place) < stop[place]}
    consumer.pause(*(place for place in places if place not in left))
    clock = asyncio.get_running_loop().time
    heard = clock()
    while left:
        fetched = await consumer.getmany(timeout_ms=500, max_records=max_records)
        records = [to_record(raw) for place, batch in fetched.items() for raw in batch if raw.offset < stop[place]]
        # the position, not the last record: a transaction's marker has an offset and no record
        done = {place for place in left if await consumer.position(place) >= stop[place]}
        consumer.pause(*done)
        left -= done
        if fetched or done:
            heard = clock()
        elif clock() - heard > _SILENT_SECONDS:
            raise UnavailableError("kafka", f"Kafka sent nothing for {_SILENT_SECONDS:.0f} s while {left} were unread")
        if records:
            yield records


def _consumer(bootstrap: str) -> AIOKafkaConsumer:
    """Return a reader; cut off in its start, aiokafka would leave a connection open for ever."""
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        client_id="temper-reader",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",  # offsets that are gone must be seen, not skipped
        request_timeout_ms=_REQUEST_MS,
        max_partition_fetch_bytes=2 * 2**20,
        metadata_max_age_ms=60_000,
    )


async def _places(
    consumer: AIOKafkaConsumer, topics: Iterable[str], skip_missing: bool = False
) -> list[TopicPartition]:
    known = await _known(consumer)
    places: list[TopicPartition] = []
    for topic in topics:
        partitions = known.partitions_for_topic(topic)
        if not partitions and not skip_missing:
            raise UnavailableError("kafka", f"Kafka has no topic {topic}; `temper up` creates the topics")
        places += [TopicPartition(topic, partition) for partition in sorted(partitions or ())]
    # Otherwise aiokafka learns of each topic by itself, and waits a tenth of a second for every one of them.
    await consumer._client.set_topics({place.topic for place in places})  # noqa: SLF001  as above
    return places


async def _known(consumer: AIOKafkaConsumer) -> ClusterMetadata:
    """Ask for all topics; a second time where the first answer of all was late: aiokafka closes the connection then."""
    ask = consumer._client.fetch_all_metadata  # noqa: SLF001  the public way is for subscribed topics
    with suppress(KafkaError):
        return await ask()
    return await ask()


async def _seek(
    consumer: AIOKafkaConsumer, places: Sequence[TopicPartition], from_offsets: Mapping[Place, int]
) -> None:
    fresh = [place for place in places if (place.topic, place.partition) not in from_offsets]
    if fresh:
        await consumer.seek_to_beginning(*fresh)
    ends = await consumer.end_offsets(places)
    for place in places:
        offset = from_offsets.get((place.topic, place.partition))
        if offset is None:
            continue
        if offset > ends[place]:
            raise LogGapError(f"{place.topic}/{place.partition} ends at {ends[place]}, before the position {offset}")
        consumer.seek(place, offset)


def _away(bootstrap: str, error: Exception) -> UnavailableError:
    return UnavailableError("kafka", f"Kafka at {bootstrap} does not answer: {error!r}")
