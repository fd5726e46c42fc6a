"""A worker process of the delivery tests: for each `file.uploaded` one `file.deleted`, slowly and with failures."""

import asyncio
import signal
import sys

from contracts import envelope
from contracts.envelope import Event, derived_id
from contracts.events.files import FileDeleted, FileUploaded
from contracts.ports import UnavailableError
from infra.adapters.kafka import Delivery, KafkaEmit, Subscription
from infra.runtime.belief import Belief
from tests.connected.log import KEY


async def main(bootstrap: str, group: str) -> None:
    """Work until SIGTERM."""
    emit = KafkaEmit(bootstrap, KEY)
    failed: set[str] = set()

    async def on_file_uploaded(event: Event) -> None:
        assert isinstance(event.data, FileUploaded)
        number = int(event.data.filename)
        if number % 25 == 3 and event.id not in failed:
            failed.add(event.id)
            raise UnavailableError("mongo")
        await asyncio.sleep(0.002 + number % 7 / 1000)
        effect = derived_id(event.id, "effect", group)
        await emit(envelope.make(FileDeleted(), subject=event.subject, tenant="local", id=effect, cause=event.id))

    subscription = Subscription(group, ("file.uploaded",), on_file_uploaded)
    delivery = Delivery(bootstrap, [subscription], emit, Belief(bootstrap, KEY, "local"))
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    delivery.start()
    await stopping.wait()
    await delivery.stop()
    await emit.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
