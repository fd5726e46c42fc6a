"""Publishing: an event is published when Kafka has acknowledged it (acks=all, idempotent)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidProducerIdMapping,
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
)

from contracts import envelope
from contracts.envelope import Event
from contracts.ports import UnavailableError

DEADLINE_SECONDS = 10.0
_REQUEST_MS = 8_000
_BATCH_BYTES = 512 * 1024  # the default of 16 KiB is less than one full event
_LOG_APPEND_TIME = 1
_STUCK = (OutOfOrderSequenceNumber, ProducerFenced, InvalidProducerIdMapping)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """Where Kafka put a record."""

    partition: int
    offset: int
    at: int
    """LogAppendTime in milliseconds."""


class KafkaEmit:
    """The `Emit` port on Kafka; connects at the first event, and again after the producer got stuck.

    Raises UnavailableError("kafka") when an event was not acknowledged within `deadline` seconds. It may be in the log
    all the same: publish it again under the same id.
    """

    def __init__(self, bootstrap: str, signing_key: bytes, deadline: float = DEADLINE_SECONDS) -> None:
        self._bootstrap = bootstrap
        self._signing_key = signing_key
        self._deadline = deadline
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def __call__(self, event: Event) -> Event:
        """Sign and publish `event`; return it with `at` set to the broker's LogAppendTime."""
        headers = envelope.headers(event, self._signing_key)
        published = await self.publish(event.type, event.subject.encode(), envelope.body(event), headers)
        return replace(event, at=published.at)

    async def publish(
        self, topic: str, key: bytes, value: bytes | None, headers: Sequence[tuple[str, bytes]]
    ) -> Published:
        """Publish a record as it is; raises ValueError when it is too large for a record, or UnavailableError."""
        try:
            async with asyncio.timeout(self._deadline):
                return await self._send(topic, key, value, headers)
        except MessageSizeTooLargeError as error:
            self._discard()
            raise ValueError(f"a record of {topic} is too large for Kafka; content belongs in blobs") from error
        except (TimeoutError, KafkaError, OSError) as error:
            known = self._producer is None or self._producer.client.cluster.partitions_for_topic(topic)
            # the event may still be queued there, and a gap in the sequence numbers would block its partition for ever
            self._discard()
            if not known:
                raise UnavailableError(
                    "kafka", f"Kafka has no topic {topic}; `temper up` creates the topics"
                ) from error
            raise UnavailableError("kafka", f"Kafka did not acknowledge a record of {topic}: {error!r}") from error

    async def start(self) -> None:
        """Connect now, so that the first event need not wait; raises UnavailableError."""
        try:
            async with asyncio.timeout(self._deadline):
                await self._started()
        except (TimeoutError, KafkaError, OSError) as error:
            raise UnavailableError("kafka", f"Kafka at {self._bootstrap} does not answer: {error!r}") from error

    async def stop(self) -> None:
        """Wait for what is under way, then close."""
        self._discard(flush=True)
        if self._closing:
            await asyncio.wait(set(self._closing))

    async def _send(
        self, topic: str, key: bytes, value: bytes | None, headers: Sequence[tuple[str, bytes]]
    ) -> Published:
        try:
            return await self._once(topic, key, value, headers)
        except _STUCK as error:
            log.warning("kafka: the producer is stuck (%r) and is replaced", error)
            self._discard()
        return await self._once(topic, key, value, headers)

    async def _once(
        self, topic: str, key: bytes, value: bytes | None, headers: Sequence[tuple[str, bytes]]
    ) -> Published:
        producer = self._producer or await self._started()
        metadata = await (await producer.send(topic, value=value, key=key, headers=list(headers)))
        if metadata.timestamp_type != _LOG_APPEND_TIME:
            raise KafkaError(f"topic {topic} must have message.timestamp.type=LogAppendTime")
        return Published(metadata.partition, metadata.offset, metadata.timestamp)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    client_id="temper",
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=0,
                    max_batch_size=_BATCH_BYTES,
                    request_timeout_ms=_REQUEST_MS,
                    retry_backoff_ms=50,
                    metadata_max_age_ms=60_000,
                )
                starting = asyncio.ensure_future(producer.start())
                try:
                    await asyncio.shield(starting)  # cut off halfway it leaves connections
                except BaseException:
                    self._close(producer, flush=False, starting=starting)
                    raise
                self._producer = producer
            return self._producer

    def _discard(self, flush: bool = False) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            self._close(producer, flush)

    def _close(self, producer: AIOKafkaProducer, flush: bool, starting: asyncio.Future[None] | None = None) -> None:
        task = asyncio.create_task(_closed(producer, self._deadline if flush else 0, starting))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _closed(producer: AIOKafkaProducer, patience: float, starting: asyncio.Future[None] | None) -> None:
    """Close a producer, once its start has come to an end, after at most `patience` seconds of flushing."""
    if starting is not None:
        await asyncio.gather(starting, return_exceptions=True)
    if patience:
        await asyncio.wait([asyncio.create_task(producer.flush())], timeout=patience)
    # stop() would wait for the broker for ever: an idempotent producer never gives a batch up
    sender = producer._sender.sender_task  # noqa: SLF001
    if sender is not None:
        sender.cancel()
    try:
        await producer.stop()
    except (KafkaError, OSError) as error:
        log.info("kafka: a discarded producer closed with %r", error)
