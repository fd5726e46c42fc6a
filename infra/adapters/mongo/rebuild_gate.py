"""The gate before the read models: while they are rebuilt, or behind the log, nobody reads, claims or ends anything."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from contracts.ports import RebuildingError, UnavailableError
from infra.adapters.kafka import Place
from infra.adapters.mongo.connection import Database
from infra.adapters.mongo.generations import reached, read_generation

LOG = "log"
"""What is unavailable when Kafka holds another log: waiting does not help, a person has to decide."""
_TTL = 0.2  # seconds a positive answer is believed; a miss always looks again


class Readiness:
    """Says which generation this process may believe: a whole one that is not behind what the process knows of the log.

    `ends` returns where the log ends. It is asked once, at first: MongoDB may be older than what was answered before.
    """

    def __init__(self, db: Database, ends: Callable[[], Awaitable[Mapping[Place, int]]] | None = None) -> None:
        self._db = db
        self._ends = ends
        self._floor: dict[Place, int] | None = None
        self._log: str | None = None
        self._id = ""
        self._until = 0.0

    async def __call__(self, look_again: bool = False) -> str:
        """Return the generation's id; raises RebuildingError, or UnavailableError for an outage or another log."""
        if not look_again and time.monotonic() < self._until:
            return self._id
        self._until = 0.0
        if self._floor is None:
            self._floor = dict(await self._ends()) if self._ends else {}
        found = await read_generation(self._db)
        if found is not None and found.wrong is not None:
            self._floor = None
            raise UnavailableError(LOG, "Kafka does not hold the log that was folded; the operator has to decide")
        if found is None or not found.complete:
            raise RebuildingError
        if found.log != self._log:
            self._log, self._floor = found.log, {} if self._log else self._floor
        if not found.current or not reached(found.positions, self._floor):
            raise RebuildingError("the read models catch up with the log")
        self._floor = {**self._floor, **found.positions}
        self._id, self._until = found.id, time.monotonic() + _TTL
        return self._id
