"""What one process believes of the log: `contracts.belief` with the keys that the log knows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing, suppress

from contracts import belief, envelope
from contracts.envelope import Event, PoisonError, Record
from infra.adapters.kafka import LogTail


class Belief:
    """Decides which records count; what is said of keys is read from the log itself, as soon as a record needs it."""

    def __init__(self, bootstrap: str, signing_key: bytes, unsigned_tenant: str | None) -> None:
        self._signing_key = signing_key
        self._unsigned_tenant = unsigned_tenant
        self._keys = belief.IngestKeys()
        self._tail = LogTail(bootstrap, belief.TOPICS)
        self._known_to = -1
        """Milliseconds: of what was said of keys until then nothing is missing."""
        self._learning = asyncio.Lock()

    async def __call__(self, record: Record) -> Event:
        """Return the event in a record that counts; raises PoisonError, NewerVersionError, UnavailableError."""
        await self.learn([record])
        return self.believe(record)

    async def learn(self, records: Iterable[Record]) -> None:
        """Learn of keys what is needed to believe these records; raises UnavailableError."""
        needed = max((record.at for record in records if envelope.key_id(record) is not None), default=-1)
        async with self._learning:
            if needed <= self._known_to:
                return
            async with aclosing(self._tail.read()) as batches:  # what was said before `needed` is in the log by now
                async for batch in batches:
                    for record in batch:
                        with suppress(PoisonError):
                            self._keys.learn(envelope.read(record, self._signing_key, None))
            self._known_to = needed

    def believe(self, record: Record) -> Event:
        """Return the event in a record that was learnt for; raises PoisonError, NewerVersionError."""
        return belief.believe(record, self._signing_key, self._unsigned_tenant, self._keys)

    async def close(self) -> None:
        """Let Kafka go."""
        await self._tail.close()
