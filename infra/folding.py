"""Folding the log in memory: what the projector's build and replay's shadow have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing

from contracts import topics
from contracts.documents import Stored, fold, touched
from contracts.envelope import Event, PoisonError, Record
from infra.adapters.kafka import Place, read_log

ALL = tuple(topic.name for topic in topics.TOPICS)
Read = Callable[[Record], Event]
Folded = dict[str, dict[str, Stored]]
"""read model → document id → document"""


async def fold_log(
    bootstrap: str,
    read: Read,
    into: Folded,
    start: Mapping[Place, int] | None,
    end: Mapping[Place, int],
    on_batch: Callable[[int], Awaitable[None]] | None = None,
) -> tuple[int, int]:
    """Fold the log from `start` (None: its beginning) to `end`; returns (records, records that nobody can read)."""
    done = poison = 0
    async with aclosing(read_log(bootstrap, ALL, start, end)) as batches:
        async for batch in batches:
            for record in batch:
                try:
                    fold_into(into, read(record))
                except PoisonError:
                    poison += 1
            done += len(batch)
            if on_batch is not None:
                await on_batch(done)
    return done, poison


def fold_into(into: Folded, event: Event) -> None:
    """Fold one event into every document in memory that it touches."""
    for model, id in touched(event):
        documents = into.setdefault(model.name, {})
        new = fold(model, id, documents.get(id), event)
        if new is not None:
            documents[id] = new
