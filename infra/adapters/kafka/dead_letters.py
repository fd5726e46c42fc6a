"""What is said of a record that a function gives up on."""

from __future__ import annotations

from contracts import envelope
from contracts.envelope import Event, Record, derived_id
from contracts.events.dead import DeadLetter

_SYSTEM_TENANT = "temper"
"""Owner of dead letters whose record nobody could believe."""


def dead_letter(
    group: str, record: Record, code: str, message: str, tries: int = 1, event: Event | None = None
) -> Event:
    """Return what a function says of a record that it gives up on; `event` is the record's, where it could be read."""
    letter = derived_id("dead", group, record.topic, record.partition, record.offset)
    data = DeadLetter(
        code=code,
        message=message[:500],
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        function=group,
        tries=tries,
    )
    return envelope.make(
        data,
        subject=f"dead-{letter.replace('-', '')}",
        tenant=event.tenant if event else _SYSTEM_TENANT,
        id=letter,
        cause=event.id if event else None,
    )
