"""What every implementation of the `Emit` port does; a subclass gives the fixtures `emit` and `log`."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from contracts import envelope
from contracts.envelope import Event
from contracts.events.files import FileDeleted
from contracts.ports import Emit

Log = Callable[[], Awaitable[list[Event]]]
"""Returns what was published since the test began, in order for each subject."""


def deleted(subject: str | None = None) -> Event:
    return envelope.make(FileDeleted(), subject=subject or f"file-{uuid4().hex}", tenant="local", id=str(uuid4()))


class EmitSuite:
    async def test_an_event_comes_back_with_its_time_and_is_in_the_log(self, emit: Emit, log: Log) -> None:
        event = envelope.make(
            FileDeleted(),
            subject=f"file-{uuid4().hex}",
            tenant="größe",
            id=str(uuid4()),
            cause="cause",
            epoch=2,
            attempt=3,
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        published = await emit(event)
        assert published.at > 1_700_000_000_000
        assert replace(published, at=0) == event
        assert await log() == [published]

    async def test_times_of_a_subject_never_go_back(self, emit: Emit, log: Log) -> None:
        subject = f"file-{uuid4().hex}"
        published = [await emit(deleted(subject)) for _ in range(20)]
        times = [event.at for event in published]
        assert times == sorted(times)
        assert await log() == published

    async def test_many_at_once_are_all_there(self, emit: Emit, log: Log) -> None:
        published = await asyncio.gather(*(emit(deleted()) for _ in range(200)))
        assert {event.id: event for event in await log()} == {event.id: event for event in published}

    async def test_content_that_belongs_into_a_blob_is_refused(self, emit: Emit, log: Log) -> None:
        huge = FileDeleted.model_construct(reason="x" * 2**18)
        event = envelope.make(huge, subject="file-1", tenant="local", id="1")
        with pytest.raises(ValueError, match="belongs in blobs"):
            await emit(event)
        assert await log() == []
