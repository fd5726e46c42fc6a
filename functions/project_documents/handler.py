"""Folds batches of the log into the read models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from contracts.envelope import Event, PoisonError, Record

Read = Callable[[Record], Event]
EmitDeadLetter = Callable[[Record, str, str], Awaitable[None]]
"""(record, code, message) → its dead letter is in Kafka."""


class Folds(Protocol):
    """Where events are folded into documents, many at a time."""

    async def apply_batch(self, events: Iterable[Event]) -> None:
        """Fold all `events`."""
        ...


async def on_records(records: Sequence[Record], read: Read, folds: Folds, emit_dead_letter: EmitDeadLetter) -> None:
    """Fold what can be read; what cannot goes to `dead.letter`, and the rest goes on."""
    events = []
    for record in records:
        try:
            events.append(read(record))
        except PoisonError as error:
            await emit_dead_letter(record, error.code, str(error))
    await folds.apply_batch(events)
