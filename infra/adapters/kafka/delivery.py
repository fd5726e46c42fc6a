"""Reliable subscriptions on FastStream: at least once, poison set aside, only the partition that must wait waits.

FastStream's own parser, decoder and acknowledgement lose messages; what is used of it here cannot.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError
from faststream import AckPolicy, BaseMiddleware
from faststream.kafka import KafkaBroker
from faststream.kafka.message import FAKE_CONSUMER, KafkaMessage
from faststream.kafka.prometheus import KafkaPrometheusMiddleware
from prometheus_client import CollectorRegistry

from contracts.envelope import Event, Record
from contracts.ports import Emit
from infra.adapters.kafka.progress import pause_for
from infra.adapters.kafka.records import to_record
from infra.adapters.kafka.reliable import RecordHandler, Subscription

_GRACE_SECONDS = 5.0
_LOOK_SECONDS = 5.0
_RETRY_SECONDS = 2.0
_START_SECONDS = 30.0

log = logging.getLogger(__name__)

Believe = Callable[[Record], Awaitable[Event]]
"""Record → its event, if it counts; raises PoisonError, NewerVersionError, UnavailableError."""


class Delivery:
    """Runs the subscriptions of one process until it is stopped; waits for Kafka when it is away."""

    def __init__(
        self,
        bootstrap: str,
        subscriptions: Sequence[Subscription],
        emit: Emit,
        believe: Believe,
        metrics: CollectorRegistry | None = None,
    ) -> None:
        """`metrics` is where FastStream counts records and their seconds."""
        self._bootstrap = bootstrap
        counted = KafkaPrometheusMiddleware(registry=metrics, app_name="temper") if metrics is not None else None
        self._counted: tuple[KafkaPrometheusMiddleware, ...] = (counted,) if counted else ()  # once: it registers names
        self._handlers = {subscription.group: RecordHandler(subscription, emit) for subscription in subscriptions}
        self._believe = believe
        self._away: str | None = "Kafka has not answered yet"
        self._running: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._started = asyncio.Event()

    def start(self) -> asyncio.Task[None]:
        """Begin; returns what ends at `stop` or with what went wrong; `ready` waits until the groups have joined."""
        self._running = asyncio.create_task(self._run())
        return self._running

    async def ready(self) -> None:
        """Wait until every subscription has joined its group."""
        await self._started.wait()

    async def stop(self) -> None:
        """Let the handlers finish what they have in hand, at most 5 s; what they do not finish stays uncommitted."""
        self._stopping.set()
        if self._running is not None:
            await asyncio.wait({self._running})

    def status(self) -> dict[str, Any]:
        """Return `status` (ok, waiting, stuck, starting), a word on Kafka itself, and the progress of each group."""
        groups = {group: handler.progress.status() for group, handler in self._handlers.items()}
        states = {
            str(state["state"]) for group, state in groups.items() if not self._handlers[group].subscription.optional
        }
        if not self._started.is_set():
            status = "starting"
        elif self._away is not None or "stuck" in states:
            status = "stuck"
        else:
            status = "waiting" if "waiting" in states else "ok"
        return {"status": status, "kafka": self._away or "ok", "groups": groups}

    async def _run(self) -> None:
        while not self._stopping.is_set():
            broker = self.new_broker()
            try:
                async with asyncio.timeout(_START_SECONDS):
                    await broker.start()
                self._away = None
                self._started.set()
                while not await pause_for(self._stopping, _LOOK_SECONDS):
                    await self._look(broker)
            except (KafkaError, OSError) as error:
                self._away = f"Kafka at {self._bootstrap} does not answer: {error!r}"
                log.warning("%s; trying again", self._away)
            finally:
                await _stopped(broker)
            if self._away is not None:
                await pause_for(self._stopping, _RETRY_SECONDS)

    def new_broker(self) -> KafkaBroker:
        """Return a broker with a subscriber for each group, not started."""
        broker = KafkaBroker(
            self._bootstrap,
            client_id="temper",
            consumer_only=True,  # KafkaEmit publishes
            allow_auto_create_topics=False,
            request_timeout_ms=20_000,
            metadata_max_age_ms=60_000,
            graceful_timeout=_GRACE_SECONDS,
            apply_types=False,  # handlers take the event that the decoder made, and nothing is injected
            logger=None,
            parser=_parse,
            decoder=self._decode,
            middlewares=(partial(_Settle, self._handlers), *self._counted),
        )
        for group, handler in self._handlers.items():
            subscriber = broker.subscriber(
                *handler.subscription.topics,
                group_id=group,
                ack_policy=AckPolicy.MANUAL,
                auto_offset_reset="earliest",
                no_reply=True,
                session_timeout_ms=6_000,
                heartbeat_interval_ms=2_000,
                fetch_max_wait_ms=1_000,  # an idle group asks once a second; whatever comes is told at once
                consumer_timeout_ms=1_000,  # of the loop behind it, which is woken by whatever comes, too
                max_poll_interval_ms=300_000,
            )
            subscriber(_with_deadline(handler.subscription))
        return broker

    async def _decode(self, message: KafkaMessage) -> Event:
        """Return the event, or raise what the middleware sorts: PoisonError, NewerVersionError, UnavailableError."""
        return await self._believe(to_record(message.raw_message))

    async def _look(self, broker: KafkaBroker) -> None:
        """Refresh each group's lag, and notice when Kafka is away."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                held = ((getattr(each, "group_id", ""), getattr(each, "consumer", None)) for each in broker.subscribers)
                # at the same time, as each question waits behind its consumer's fetch, which waits for what may come
                looks = (
                    self._handlers[group].progress.look(consumer) for group, consumer in held if consumer is not None
                )
                await asyncio.gather(*looks)
        except (KafkaError, OSError) as error:
            self._away = f"Kafka at {self._bootstrap} does not answer: {error!r}"
            return
        self._away = None


class _Settle(BaseMiddleware[Any, Any]):
    """Hands every record to its group's handler, whatever became of it."""

    def __init__(self, handlers: dict[str, RecordHandler], raw: ConsumerRecord, /, *, context: Any) -> None:
        super().__init__(raw, context=context)
        self._handlers = handlers
        self._event: Event | None = None

    async def consume_scope(self, call_next: Any, msg: Any) -> Any:
        """Keep the event for the case that its handler fails."""
        self._event = await msg.decode()
        return await call_next(msg)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> bool:
        """Settle the record; a cancelled one stays uncommitted and comes again."""
        if exc_val is not None and not isinstance(exc_val, Exception):
            return False
        subscriber = self.context.get_local("handler_")
        consumer: AIOKafkaConsumer | None = subscriber.consumer
        if consumer is not None:
            await self._handlers[subscriber.group_id].settle(consumer, self.msg, self._event, exc_val)
        return True


def _with_deadline(subscription: Subscription) -> Any:
    async def handle(event: Event) -> None:
        async with asyncio.timeout(subscription.deadline):
            await subscription.handle(event)

    return handle


async def _parse(raw: ConsumerRecord) -> KafkaMessage:
    """Wrap a record without looking at it: FastStream's own parser raises on headers and so skips the record."""
    return KafkaMessage(raw_message=raw, body=raw.value or b"", correlation_id="-", consumer=FAKE_CONSUMER)


async def _stopped(broker: KafkaBroker) -> None:
    """Stop all subscriptions at the same time, then the broker."""
    await asyncio.gather(*(subscriber.stop() for subscriber in broker.subscribers), return_exceptions=True)
    await broker.stop()
