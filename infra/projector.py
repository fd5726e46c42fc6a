"""The projector: builds a generation of the read models from the log, then follows the log."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace

from contracts.documents import READ_MODELS
from contracts.envelope import NewerVersionError, PoisonError, Record
from contracts.events.dead import DeadLetter
from contracts.ports import Emit, UnavailableError
from functions.project_documents.handler import on_records
from infra.adapters.kafka import Place, dead_letter, end_offsets, read_log
from infra.adapters.kafka.reader import LogGapError
from infra.adapters.mongo import Builds, Generation, MongoDocuments, read_generation
from infra.belief import Belief
from infra.folding import ALL, Folded, crashed, fold_log

GROUP = "project_documents"
"""What its dead letters are signed with."""
_DEAD_LETTERS = "dead.letter"

log = logging.getLogger("temper.projector")


class Projector:
    """Keeps the read models whole; whichever process runs it, folding twice changes nothing."""

    def __init__(
        self,
        bootstrap: str,
        builds: Builds,
        building: MongoDocuments,
        restore: Callable[[], Awaitable[int]],
        belief: Belief,
        emit: Emit,
    ) -> None:
        self._bootstrap = bootstrap
        self._builds = builds
        self._documents = building
        self._restore = restore
        self._belief = belief
        self._emit = emit
        self.trouble: str | None = "starting"
        """Why it does not follow the log right now, for health."""

    async def run(self) -> None:
        """Build and follow until cancelled; an outage of Kafka or MongoDB only makes it wait."""
        while True:
            try:
                generation = await read_generation(self._builds.database)
                if generation is not None and generation.current:
                    await self._follow(generation)
                else:
                    await self._build()
            except (UnavailableError, NewerVersionError) as error:
                self.trouble = str(error)
                log.warning("the projector waits: %s", error)
                await asyncio.sleep(1.0)
            except LogGapError as error:
                log.warning("the read models know more than the log holds, building them again: %s", error)
                await self._builds.discard()

    async def _build(self) -> None:
        self.trouble = "the read models are being rebuilt from the log"
        id = uuid.uuid4().hex
        if not await self._builds.begin(id):
            await asyncio.sleep(0.5)  # somebody else builds
            return
        ends = await end_offsets(self._bootstrap, ALL)
        total = sum(ends.values())
        log.info("building the read models from %d records", total)

        async def still_here(done: int) -> None:
            log.info("folded %d of %d records", done, total)
            await self._builds.touch(id)

        folded: Folded = {}
        refused: list[tuple[Record, str, str]] = []

        def refuse(record: Record, code: str, message: str) -> None:
            refused.append((replace(record, value=None), code, message))

        await fold_log(self._bootstrap, self._belief, folded, None, ends, refuse, still_here)
        await self._bury_unsaid(refused, ends)
        for name, documents in folded.items():
            await self._documents.put(READ_MODELS[name], documents)
        restored = await self._restore()
        if await self._builds.complete(id, positions(ends)):
            log.info("the read models are whole; %d control documents were derived", restored)

    async def _follow(self, generation: Generation) -> None:
        self.trouble = None
        place = {
            (topic, int(partition)): offset
            for topic, offsets in generation.positions.items()
            for partition, offset in offsets.items()
        }
        async with aclosing(read_log(self._bootstrap, ALL, place, idle=1.0)) as batches:
            async for batch in batches:
                if batch:
                    await self._fold(batch)
                    place |= {(each.topic, each.partition): each.offset + 1 for each in batch}
                if not await self._builds.advance(generation.id, positions(place)):
                    log.warning("this generation of the read models is gone")
                    return

    async def _fold(self, batch: Sequence[Record]) -> None:
        await self._belief.learn(batch)
        try:
            await on_records(batch, self._belief.believe, self._documents, self._bury)
        except (UnavailableError, NewerVersionError):
            raise
        except Exception:
            log.exception("a batch did not fold; trying its records one by one")
            for record in batch:
                try:
                    await on_records([record], self._belief.believe, self._documents, self._bury)
                except (UnavailableError, NewerVersionError):
                    raise
                except Exception as error:
                    log.exception("%s/%d@%d does not fold", record.topic, record.partition, record.offset)
                    await self._bury(record, *crashed(error))

    async def _bury(self, record: Record, code: str, message: str) -> None:
        if record.topic != _DEAD_LETTERS:
            await self._emit(dead_letter(GROUP, record, code, message))

    async def _bury_unsaid(self, refused: Sequence[tuple[Record, str, str]], ends: Mapping[Place, int]) -> None:
        """Bury what a build passed over, unless that was done in an earlier generation."""
        if not refused:
            return
        said: set[tuple[str, int, int]] = set()
        async with aclosing(read_log(self._bootstrap, (_DEAD_LETTERS,), None, ends)) as batches:
            async for batch in batches:
                for letter in batch:
                    with suppress(PoisonError):
                        data = self._belief.believe(letter).data
                        if isinstance(data, DeadLetter) and data.function == GROUP:
                            said.add((data.topic, data.partition, data.offset))
        for record, code, message in refused:
            if (record.topic, record.partition, record.offset) not in said:
                await self._bury(record, code, message)


def positions(places: Mapping[Place, int]) -> dict[str, dict[str, int]]:
    """Return offsets by place as they are stored: topic → partition → offset."""
    nested: dict[str, dict[str, int]] = {}
    for (topic, partition), offset in sorted(places.items()):
        nested.setdefault(topic, {})[str(partition)] = offset
    return nested
