"""P2, P5: what becomes of a record whose function fails, must wait, or must not believe it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer

from contracts.envelope import Event, derived_id, make
from contracts.events.dead import DeadLetter
from contracts.events.files import FileRejected
from contracts.events.keys import KeyCreated, KeyRevoked
from contracts.ports import UnavailableError
from infra.adapters.kafka import Delivery, KafkaEmit, Subscription
from infra.adapters.kafka.progress import Progress
from infra.adapters.kafka.reliable import MAX_TRIES, OnFailure, no_failure
from infra.local.ports import LOOPBACK, LocalPorts
from infra.runtime.belief import Belief
from infra.settings import Settings
from tests.connected.garbage import TOPIC, outside, signed, signed_with, uploaded
from tests.connected.log import KEY, Tap, begin_here, lag, until

pytestmark = pytest.mark.connected


@pytest.fixture
def bootstrap(servers: Settings) -> str:
    assert servers.kafka_bootstrap
    return servers.kafka_bootstrap


@pytest.fixture
async def emit(bootstrap: str) -> AsyncIterator[KafkaEmit]:
    emit = KafkaEmit(bootstrap, KEY)
    yield emit
    await emit.stop()


@dataclass
class Function:
    """A function under test, and what it saw."""

    bootstrap: str
    emit: KafkaEmit
    handle: Callable[[Event], Awaitable[None]] | None = None
    topics: Sequence[str] = (TOPIC,)
    on_failure: OnFailure = no_failure
    group: str = field(default_factory=lambda: f"test-{uuid4().hex}")
    deadline: float = 60.0
    key: bytes = KEY
    seen: list[Event] = field(default_factory=list)

    @asynccontextmanager
    async def running(self, bootstrap: str | None = None) -> AsyncIterator[Delivery]:
        """Deliver from now on."""
        tap = await Tap.open(self.bootstrap, "dead.letter", "file.rejected")
        await begin_here(self.bootstrap, self.group, self.topics)

        async def handle(event: Event) -> None:
            self.seen.append(event)
            if self.handle is not None:
                await self.handle(event)

        subscription = Subscription(self.group, tuple(self.topics), handle, self.on_failure, self.deadline)
        belief = Belief(self.bootstrap, self.key, "local")
        delivery = Delivery(bootstrap or self.bootstrap, [subscription], self.emit, belief)
        self.tap = tap
        delivery.start()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(belief.close)
            stack.push_async_callback(delivery.stop)
            if bootstrap is None:
                await delivery.ready()
            yield delivery

    async def done(self) -> None:
        """Wait until nothing is left to do."""

        async def nothing_left() -> bool:
            return await lag(self.bootstrap, self.group, self.topics) == 0

        await until(nothing_left)

    async def letters(self) -> list[DeadLetter]:
        """The dead letters of this function."""
        letters = [event.data for event in await self.tap.events() if isinstance(event.data, DeadLetter)]
        return [letter for letter in letters if letter.function == self.group]


async def test_a_function_that_crashes_thrice_says_so_and_goes_on(bootstrap: str, emit: KafkaEmit) -> None:
    crashing, following = uploaded("crash", "file-same"), uploaded("good", "file-same")

    async def handle(event: Event) -> None:
        if event.id == crashing.id:
            raise KeyError("sk-secret")

    async def on_failure(event: Event, why: str) -> None:
        data = FileRejected(code="internal_error", message=f"The check failed: {why}.")
        await emit(make(data, subject=event.subject, tenant=event.tenant, id=derived_id(event.id, "verdict")))

    function = Function(bootstrap, emit, handle, on_failure=on_failure)
    async with function.running():
        await emit(crashing)
        await emit(following)
        await function.done()
    assert [event.id for event in function.seen] == [crashing.id] * 3 + [following.id]
    (letter,) = await function.letters()
    assert (letter.code, letter.tries, letter.topic) == ("crashed", 3, TOPIC)
    assert "KeyError" in letter.message
    assert "sk-secret" not in letter.message
    (failure,) = [event for event in await function.tap.events() if isinstance(event.data, FileRejected)]
    assert failure.id == derived_id(crashing.id, "verdict")
    assert isinstance(failure.data, FileRejected)
    assert failure.data.message == "The check failed: its function crashed (KeyError)."


async def test_a_function_whose_failure_event_crashes_too_goes_on(bootstrap: str, emit: KafkaEmit) -> None:
    async def handle(event: Event) -> None:
        raise ValueError

    async def on_failure(event: Event, why: str) -> None:
        raise RuntimeError("also wrong")

    function = Function(bootstrap, emit, handle, on_failure=on_failure)
    async with function.running():
        await emit(uploaded())
        await function.done()
    assert [letter.code for letter in await function.letters()] == ["crashed"]


async def test_a_function_that_overruns_its_deadline_waits_for_the_slow_server(bootstrap: str, emit: KafkaEmit) -> None:
    answers = asyncio.Event()

    async def handle(event: Event) -> None:
        await answers.wait()

    function = Function(bootstrap, emit, handle, deadline=0.05)
    async with function.running() as delivery:
        await emit(uploaded())
        await until(lambda: len(function.seen) > MAX_TRIES)
        (reason,) = delivery.status()["groups"][function.group]["waiting"].values()
        assert reason.startswith("slow: ")
        answers.set()
        await function.done()
    assert await function.letters() == []


async def test_a_delivery_that_breaks_ends_what_started_it(
    bootstrap: str, emit: KafkaEmit, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: Progress, consumer: AIOKafkaConsumer) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Progress, "look", broken)
    monkeypatch.setattr("infra.adapters.kafka.delivery._LOOK_SECONDS", 0.01)

    async def handle(event: Event) -> None: ...

    delivery = Delivery(
        bootstrap, [Subscription(f"test-{uuid4().hex}", (TOPIC,), handle)], emit, Belief(bootstrap, KEY, None)
    )
    running = delivery.start()
    with pytest.raises(RuntimeError, match="a bug"):
        await asyncio.wait_for(asyncio.shield(running), 30)
    await delivery.stop()


async def test_only_the_partition_that_needs_what_is_away_waits(bootstrap: str, emit: KafkaEmit) -> None:
    away = True
    waiting = uploaded(subject="file-waiting")

    async def handle(event: Event) -> None:
        if away and event.subject == waiting.subject:
            raise UnavailableError("mongo", "MongoDB does not answer")

    function = Function(bootstrap, emit, handle)
    async with function.running() as delivery:
        await emit(waiting)
        await until(lambda: len(function.seen) >= 2)
        status = delivery.status()
        assert status["status"] == "waiting"
        (reason,) = status["groups"][function.group]["waiting"].values()
        assert reason == "mongo: MongoDB does not answer"

        others = [await emit(uploaded()) for _ in range(30)]

        def other_partitions_are_done() -> bool:
            return len({event.id for event in function.seen} & {event.id for event in others}) >= 10

        await until(other_partitions_are_done)
        assert delivery.status()["status"] == "waiting"
        away = False
        await function.done()
        await until(lambda: delivery.status()["status"] == "ok")
    assert {event.id for event in function.seen} == {waiting.id, *(event.id for event in others)}
    assert await function.letters() == []


async def test_an_event_of_a_newer_temper_waits_for_the_upgrade(bootstrap: str, emit: KafkaEmit) -> None:
    event = replace(uploaded(), dataversion=99)
    key = b"a key of its own: whoever believed this event later in the same log would wait for ever"
    function, newer = Function(bootstrap, emit, key=key), KafkaEmit(bootstrap, key)
    async with function.running() as delivery:
        await newer(event)
        await newer.stop()
        await until(lambda: delivery.status()["status"] == "waiting")
        (reason,) = delivery.status()["groups"][function.group]["waiting"].values()
        assert reason.startswith("newer_version: file.uploaded has version 99")
        assert "Upgrade" in reason
    assert function.seen == []
    assert await function.letters() == []
    assert await lag(bootstrap, function.group, [TOPIC]) == 1


async def test_an_outsider_is_believed_until_its_key_is_revoked(bootstrap: str, emit: KafkaEmit) -> None:
    function, key = Function(bootstrap, emit), f"key-{uuid4().hex}"
    created = KeyCreated(sha256=key, hint="x", kind="ingest")
    async with function.running():
        for said in (created, None, KeyRevoked(sha256=key), None):
            if said is not None:
                await emit(make(said, subject=key, tenant="acme", id=str(uuid4())))
                continue
            raw = signed_with(outside("acme"), "acme", key)
            await emit.publish(TOPIC, raw.key or b"", raw.value, [(name, value or b"") for name, value in raw.headers])
        await function.done()
    assert [event.tenant for event in function.seen] == ["acme"]
    assert [letter.code for letter in await function.letters()] == ["revoked_key"]


async def test_a_reply_to_header_publishes_nothing(bootstrap: str, emit: KafkaEmit) -> None:
    function = Function(bootstrap, emit)
    async with function.running():
        tap = await Tap.open(bootstrap, "file.deleted")
        raw = signed(uploaded()).with_header("reply_to", b"file.deleted")
        assert raw.key
        await emit.publish(TOPIC, raw.key, raw.value, [(name, value or b"") for name, value in raw.headers])
        await function.done()
        assert len(function.seen) == 1
        assert await tap.records() == []


async def test_garbage_among_the_dead_letters_makes_no_more_of_them(bootstrap: str, emit: KafkaEmit) -> None:
    function = Function(bootstrap, emit, topics=("dead.letter",))
    async with function.running():
        await emit.publish("dead.letter", b"k", b"no JSON", [])
        await function.done()
        assert len(await function.tap.records()) == 1  # the garbage itself


async def test_what_is_in_hand_at_the_end_is_finished_and_what_is_not_comes_again(
    bootstrap: str, emit: KafkaEmit
) -> None:
    release = asyncio.Event()

    async def handle(event: Event) -> None:
        await release.wait()

    function = Function(bootstrap, emit, handle)
    first, second = uploaded(subject="file-same"), uploaded(subject="file-same")
    async with function.running() as delivery:
        await emit(first)
        await emit(second)
        await until(lambda: len(function.seen) == 1)
        stopping = asyncio.create_task(delivery.stop())
        await asyncio.sleep(0)
        release.set()
        await stopping
    assert [event.id for event in function.seen] == [first.id]
    assert await lag(bootstrap, function.group, [TOPIC]) == 1


async def test_it_waits_for_a_broker_that_comes_later(bootstrap: str, emit: KafkaEmit) -> None:
    port = LocalPorts({}, usual=False).choose("late", 0)
    function = Function(bootstrap, emit)
    async with function.running(f"{LOOPBACK}:{port}") as delivery:
        await until(lambda: delivery.status()["kafka"].startswith(f"Kafka at {LOOPBACK}:{port} does not answer"))
        assert delivery.status()["status"] == "starting"
        async with forwarded(port, bootstrap):
            await delivery.ready()
            await emit(uploaded())
            await until(lambda: len(function.seen) == 1)
            assert delivery.status()["status"] == "ok"


@asynccontextmanager
async def forwarded(port: int, bootstrap: str) -> AsyncIterator[None]:
    """Make `port` lead to Kafka."""
    host, _, to = bootstrap.rpartition(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(host, int(to))
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(connected, LOOPBACK, port)
    try:
        yield
    finally:
        server.close()


async def test_health_of_many_idle_groups_is_known_at_one_look(bootstrap: str, emit: KafkaEmit) -> None:
    seen: list[Event] = []

    async def handle(event: Event) -> None:
        seen.append(event)

    groups = [Subscription(f"test-{uuid4().hex}", (TOPIC,), handle) for _ in range(30)]
    for each in groups:
        await begin_here(bootstrap, each.group, (TOPIC,))
    delivery = Delivery(bootstrap, groups, emit, Belief(bootstrap, KEY, "local"))
    delivery.start()
    try:
        await delivery.ready()
        await emit(uploaded("one", "file-one"))
        await until(lambda: len(seen) == len(groups))
        idle_since = time.monotonic()

        def looked_at() -> bool:
            status = delivery.status()
            assert status["kafka"] == "ok"
            return all(each["idle_s"] < time.monotonic() - idle_since - 0.1 for each in status["groups"].values())

        await until(looked_at)
    finally:
        await delivery.stop()
