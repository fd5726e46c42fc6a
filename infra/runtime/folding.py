"""Folding the log in memory: what the projector's build and replay's shadow have in common."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing

from contracts import topics
from contracts.documents import Stored, fold, touched
from contracts.envelope import Event, NewerVersionError, PoisonError, Record
from infra.adapters.kafka import Place, read_log
from infra.runtime.belief import Belief

ALL = tuple(topic.name for topic in topics.TOPICS)
Folded = dict[str, dict[str, Stored]]
"""read model → document id → document"""
Refused = Callable[[Record, str, str], None]
"""Told of (record, code, message): nobody believes it, or it does not fold."""

log = logging.getLogger("temper.folding")


async def fold_log(
    bootstrap: str,
    belief: Belief,
    into: Folded,
    start: Mapping[Place, int] | None,
    end: Mapping[Place, int],
    refused: Refused,
    on_batch: Callable[[int], Awaitable[None]] | None = None,
    names: Sequence[str] = ALL,
) -> int:
    """Fold the log from `start` (None: its beginning) to `end`; returns how many records that were."""
    done = 0
    async with aclosing(read_log(bootstrap, names, start, end)) as batches:
        async for batch in batches:
            await belief.learn(batch)
            for number, record in enumerate(batch):
                if number % 100 == 0:
                    await asyncio.sleep(0)  # others have their turn: whoever builds must be seen to live
                fold_record(into, record, belief.believe, refused)
            done += len(batch)
            if on_batch is not None:
                await on_batch(done)
    return done


def fold_record(into: Folded, record: Record, believe: Callable[[Record], Event], refused: Refused) -> None:
    """Fold one record, or say why not; one that crashes a fold keeps no other from being folded."""
    try:
        fold_into(into, believe(record))
    except PoisonError as error:
        refused(record, error.code, str(error))
    except NewerVersionError:
        raise
    except Exception as error:
        log.exception("%s/%d@%d does not fold", record.topic, record.partition, record.offset)
        refused(record, *crashed(error))


def crashed(error: Exception) -> tuple[str, str]:
    """Return code and message of a record that crashes a fold."""
    if isinstance(error, PoisonError):
        return error.code, str(error)
    return "crashed", f"the fold crashed: {type(error).__name__}"


def fold_into(into: Folded, event: Event) -> None:
    """Fold one event into every document in memory that it touches."""
    for model, id in touched(event):
        documents = into.setdefault(model.name, {})
        new = fold(model, id, documents.get(id), event)
        if new is not None:
            documents[id] = new
