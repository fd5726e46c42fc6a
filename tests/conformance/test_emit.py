"""The publishers, one suite."""

from collections.abc import AsyncIterator

import pytest

from contracts.envelope import Event
from contracts.ports import Emit
from infra.adapters.kafka import KafkaEmit
from infra.adapters.memory import MemoryEmit
from infra.settings import Settings
from tests.conformance.emit import EmitSuite, Log
from tests.connected.log import KEY, Tap


class TestMemoryEmit(EmitSuite):
    @pytest.fixture
    def emit(self) -> MemoryEmit:
        return MemoryEmit()

    @pytest.fixture
    def log(self, emit: MemoryEmit) -> Log:
        async def read() -> list[Event]:
            return list(emit.events)

        return read


@pytest.mark.connected
class TestKafkaEmit(EmitSuite):
    @pytest.fixture
    async def emit(self, servers: Settings) -> AsyncIterator[Emit]:
        assert servers.kafka_bootstrap
        emit = KafkaEmit(servers.kafka_bootstrap, KEY)
        yield emit
        await emit.stop()

    @pytest.fixture
    async def log(self, servers: Settings) -> Log:
        assert servers.kafka_bootstrap
        tap = await Tap.open(servers.kafka_bootstrap, "file.deleted", "file.rejected")
        return tap.events
