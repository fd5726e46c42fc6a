"""The projector: builds a generation of the read models from the log, then follows the log."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace

from contracts.cancellation import heed_cancellation
from contracts.documents import READ_MODELS
from contracts.envelope import NewerVersionError, PoisonError, Record
from contracts.events.dead import DeadLetter
from contracts.ports import Emit, UnavailableError
from functions.project_documents.handler import on_records
from infra.adapters.kafka import LogGapError, LogState, Place, dead_letter, look_at_log, read_log
from infra.adapters.mongo.documents import Builds, MongoDocuments, ReadGeneration, read_generation
from infra.adapters.mongo.generations import DECIDE, TOUCH_SECONDS, reached
from infra.runtime.belief import Belief
from infra.runtime.folding import ALL, Folded, crashed, fold_log

GROUP = "project_documents"
"""What its dead letters are signed with."""
_DEAD_LETTERS = "dead.letter"

log = logging.getLogger("temper.projector")

CHECK_SECONDS = 10.0
"""How often a follower looks whether the log is still the one that it folds."""


class Projector:
    """Keeps the read models whole; of all processes that run one, one follows the log for each generation."""

    def __init__(
        self,
        bootstrap: str,
        builds: Builds,
        restore: Callable[[MongoDocuments], Awaitable[int]],
        belief: Belief,
        emit: Emit,
    ) -> None:
        """`restore` derives from a generation, before anybody sees it, the control documents that are missing."""
        self._bootstrap = bootstrap
        self._builds = builds
        self._restore = restore
        self._belief = belief
        self._emit = emit
        self._documents = MongoDocuments(builds.database)
        self._me = uuid.uuid4().hex
        self._turn: int | None = None
        self._displaced = False
        self.trouble: str | None = "starting"
        """Why it does not follow the log right now, for health."""

    async def run(self) -> None:
        """Build and follow until cancelled; an outage of Kafka or MongoDB only makes it wait."""
        while True:
            heed_cancellation()
            try:
                await self._round()
            except (UnavailableError, NewerVersionError) as error:
                self.trouble = str(error)
                log.warning("the projector waits: %s", error)
                await asyncio.sleep(1.0)
            except LogGapError as error:
                log.warning("the log was lost while it was read: %s", error)

    async def _round(self) -> None:
        there = await look_at_log(self._bootstrap, ALL)
        wrong = await self._builds.check(there)
        if wrong is not None:
            self.trouble = f"{wrong}. {DECIDE}"
            log.error(self.trouble)
            await asyncio.sleep(TOUCH_SECONDS)
            return
        generation = await read_generation(self._builds.database)
        if generation is None or not generation.complete:
            await self._build(there)
        elif await self._is_displaced(generation):
            self.trouble = None
            await asyncio.sleep(TOUCH_SECONDS)  # somebody else follows
        else:
            await self._follow(generation, there)

    async def _is_displaced(self, generation: ReadGeneration) -> bool:
        """Whether somebody took it over from this process, perhaps before this one began to follow, and is there."""
        if generation.follower == self._me:
            return False
        self._displaced = self._displaced or self._turn is not None
        return self._displaced and not await self._builds.deserted(generation.id)

    async def _build(self, there: LogState) -> None:
        self.trouble = "the read models are being rebuilt from the log"
        id = uuid.uuid4().hex
        if not await self._builds.begin(id):
            await asyncio.sleep(0.5)  # somebody else builds
            return
        try:
            await self._while_ours(self._fill(id, there), id)
        finally:
            await self._builds.abandon(id)

    async def _fill(self, id: str, there: LogState) -> None:
        total = sum(there.ends.values())
        log.info("building the read models from %d records", total)
        await self._builds.prepare(id)

        async def say(done: int) -> None:
            log.info("folded %d of %d records", done, total)

        folded: Folded = {}
        refused: list[tuple[Record, str, str]] = []

        def refuse(record: Record, code: str, message: str) -> None:
            refused.append((replace(record, value=None), code, message))

        await fold_log(self._bootstrap, self._belief, folded, None, there.ends, refuse, say)
        await self._emit_missing_dead_letters(refused, there.ends)
        documents = MongoDocuments(self._builds.database, generation=id)
        for name, each in folded.items():
            await documents.put(READ_MODELS[name], each)
        restored = await self._restore(documents)
        self._turn = await self._builds.complete(id, there.ends, self._me)
        if self._turn is not None:
            log.info("the read models are whole; %d control documents were derived", restored)

    async def _follow(self, generation: ReadGeneration, there: LogState) -> None:
        if (generation.follower, generation.turn) != (self._me, self._turn):
            self.trouble = "the read models catch up with the log"
            taken = await self._builds.follow(generation.id, self._me, there.ends)
            if taken is None:
                return
            generation, self._turn, self._displaced = taken, taken.turn, False
            await self._builds.sweep()
        self._documents = MongoDocuments(self._builds.database, generation=generation.id)
        if not await self._while_ours(self._fold_on(generation), generation.id, self._me):
            self._turn = None
        self._displaced = self._turn is None

    async def _fold_on(self, generation: ReadGeneration) -> None:
        place, checked = dict(generation.positions), time.monotonic()
        async with aclosing(read_log(self._bootstrap, ALL, place, idle=1.0, positions=place)) as batches:
            async for batch in batches:
                if batch:
                    await self._fold(batch)
                heed_cancellation()
                self._turn = await self._builds.advance(generation.id, self._me, self._turn or 0, place)
                if self._turn is None:
                    return
                self.trouble = None if reached(place, generation.goal) else self.trouble
                if time.monotonic() - checked > CHECK_SECONDS:
                    there, checked = await look_at_log(self._bootstrap, ALL), time.monotonic()
                    if await self._builds.check(there) is not None or there.ends.keys() != place.keys():
                        return  # another log, or more partitions
                    await self._builds.sweep()

    async def _while_ours(self, work: Coroutine[None, None, None], id: str, follower: str | None = None) -> bool:
        """Work on a generation for as long as nobody else has taken it over; whether that was to the end."""
        working = asyncio.create_task(work)
        keeping = asyncio.create_task(self._builds.keep(id, follower))
        try:
            heed_cancellation()  # before what ends by that alone
            await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            return working.done()
        finally:
            for task in (working, keeping):
                task.cancel()
            await asyncio.gather(working, keeping, return_exceptions=True)

    async def _fold(self, batch: Sequence[Record]) -> None:
        await self._belief.learn(batch)
        try:
            await on_records(batch, self._belief.believe, self._documents, self._dead_letter)
        except (UnavailableError, NewerVersionError):
            raise
        except Exception:
            log.exception("a batch did not fold; trying its records one by one")
            for record in batch:
                try:
                    await on_records([record], self._belief.believe, self._documents, self._dead_letter)
                except (UnavailableError, NewerVersionError):
                    raise
                except Exception as error:
                    log.exception("%s/%d@%d does not fold", record.topic, record.partition, record.offset)
                    await self._dead_letter(record, *crashed(error))

    async def _dead_letter(self, record: Record, code: str, message: str) -> None:
        if record.topic != _DEAD_LETTERS:
            await self._emit(dead_letter(GROUP, record, code, message))

    async def _emit_missing_dead_letters(
        self, refused: Sequence[tuple[Record, str, str]], ends: Mapping[Place, int]
    ) -> None:
        """Emit a dead letter for each record that a build passed over, unless an earlier generation did."""
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
                await self._dead_letter(record, code, message)
