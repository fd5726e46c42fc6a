"""Replay: prints the log, and proves that the read models are what the log says. It folds, it cannot act."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field

from contracts.documents import READ_MODELS, build
from contracts.envelope import Record
from infra.adapters.kafka import Place, end_offsets, look_at_log, read_log
from infra.adapters.mongo.documents import Builds, Database, MongoDocuments, read_generation
from infra.adapters.mongo.generations import reached
from infra.runtime.belief import Belief
from infra.runtime.folding import ALL, Folded, fold_log


@dataclass(frozen=True, slots=True)
class Divergence:
    """One document that is not what the log says."""

    model: str
    id: str
    what: str
    """`missing`, `extra`, `edited` (its etag does not match its content) or `different`."""


@dataclass(slots=True)
class Report:
    """What a verification found."""

    wrong: str | None = None
    """Why the log is not the one that was folded; then nothing else was compared."""
    records: int = 0
    poison: int = 0
    documents: dict[str, int] = field(default_factory=dict)
    """read model → documents compared"""
    differences: list[Divergence] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every document is byte for byte what the log says."""
        return self.wrong is None and not self.differences


async def records(bootstrap: str, names: Iterable[str] = ALL, follow: bool = False) -> AsyncGenerator[Record, None]:
    """Yield the log's records in order of time (of each captured batch), to the end or for ever."""
    chosen = tuple(names)
    ends = None if follow else await end_offsets(bootstrap, chosen)
    async with aclosing(read_log(bootstrap, chosen, None, ends)) as batches:
        if follow:
            async for batch in batches:
                for record in sorted(batch, key=lambda each: each.at):
                    yield record
            return
        everything = [record async for batch in batches for record in batch]
    for record in sorted(everything, key=lambda each: (each.at, each.topic, each.partition, each.offset)):
        yield record


async def verify(bootstrap: str, db: Database, belief: Belief, patience: float = 60.0) -> Report:
    """Fold the log in memory up to captured offsets and compare every stored document, byte for byte.

    A document that differs only because the log grew meanwhile is folded on and compared again; what stays
    different while nothing new comes is reported. Raises UnavailableError.
    """
    shadow: Folded = {}
    report = Report()
    start: dict[Place, int] | None = None
    deadline = time.monotonic() + patience
    report.wrong = await Builds(db).check(await look_at_log(bootstrap, ALL))
    if report.wrong is not None:
        return report

    def refused(record: Record, code: str, message: str) -> None:
        report.poison += 1

    while True:
        ends = await end_offsets(bootstrap, ALL)
        report.records += await fold_log(bootstrap, belief, shadow, start, ends, refused)
        start = ends
        await _reached(db, ends, deadline)
        await _compare(db, shadow, report)
        if report.ok or time.monotonic() > deadline or await end_offsets(bootstrap, ALL) == ends:
            return report


async def _reached(db: Database, ends: dict[Place, int], deadline: float) -> None:
    """Wait until the projector has folded what was captured."""
    while time.monotonic() < deadline:
        generation = await read_generation(db)
        if generation is not None and generation.complete and reached(generation.positions, ends):
            return
        await asyncio.sleep(0.1)


async def _compare(db: Database, shadow: Folded, report: Report) -> None:
    report.differences.clear()
    generation = await read_generation(db)
    documents = MongoDocuments(db, generation=generation.id if generation else "none")
    for model in READ_MODELS.values():
        expected = dict(shadow.get(model.name, {}))
        report.documents[model.name] = len(expected)
        async for id, stored in documents.all(model):
            wanted = expected.pop(id, None)
            if build(model, id, stored.facts) != stored:
                report.differences.append(Divergence(model.name, id, "edited"))
            elif wanted is None:
                report.differences.append(Divergence(model.name, id, "extra"))
            elif wanted != stored:
                report.differences.append(Divergence(model.name, id, "different"))
        report.differences += [Divergence(model.name, id, "missing") for id in sorted(expected)]


@dataclass(frozen=True, slots=True)
class LogLoss:
    """What another log than the one that was folded would make of the read models."""

    wrong: str | None
    """In what it is another one."""
    documents: dict[str, tuple[int, int]]
    """read model → (documents now, documents of this log)"""


async def loss(bootstrap: str, db: Database, belief: Belief) -> LogLoss:
    """Fold the log that is there in memory, and compare how much is in it with what is shown now."""
    there, shadow = await look_at_log(bootstrap, ALL), Folded()
    wrong = await Builds(db).check(there)
    names = tuple({topic for topic, _ in there.ends})
    await fold_log(bootstrap, belief, shadow, there.beginnings, there.ends, lambda *_: None, names=names)
    generation = await read_generation(db)
    documents = MongoDocuments(db, generation=generation.id if generation else "none")
    counted = {name: await documents.count(name, {}) for name in READ_MODELS}
    born = {name: sum(each.view is not None for each in shadow.get(name, {}).values()) for name in READ_MODELS}
    return LogLoss(wrong, {name: (counted[name], born[name]) for name in READ_MODELS})
