"""Generations that wait for a place in the batch, by tenant: nobody's flood stands before another's request."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from contracts.wire.asked import BATCH
from functions.generate_text.generation import Generation, OverloadedError

LIVE_SECONDS = 0.5
"""So long after somebody's request the next one is expected."""


def weighed(tenant: str, rows: int) -> int:
    """How many rows a tenant counts as having: twice as many where it has batches asked."""
    return 2 * rows + 1 if tenant.endswith(BATCH) else rows


def batched(rows: Counter[str]) -> int:
    """How many of the rows are what batches ask."""
    return sum(count for tenant, count in rows.items() if tenant.endswith(BATCH))


class FairQueue:
    """A queue for each tenant. Whoever has the fewest rows is next; among equals, whoever was served longest ago.

    What a tenant's batches ask is a queue of its own, with half the priority.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._queues: dict[str, deque[Generation]] = {}
        """In the order of turns: the tenant that was served last is the last one."""
        self._live_at = -LIVE_SECONDS
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._queues.values()))

    def add(self, generation: Generation) -> None:
        """Queue a new one; OverloadedError where its tenant has too many that wait."""
        with self._lock:
            queue = self._queues.setdefault(generation.tenant, deque())
            if len(queue) >= self._most:
                raise OverloadedError(f"{len(queue)} of your requests are waiting; try again in a few seconds")
            queue.append(generation)

    def put_back(self, generation: Generation) -> None:
        """Let one that had to leave the batch wait again, before what its tenant asked later."""
        with self._lock:
            self._queues.setdefault(generation.tenant, deque()).appendleft(generation)

    def next(self, rows: Counter[str]) -> Generation | None:
        """The one whose turn it is when each tenant has that many rows; it stays in the queue.

        Beside live requests, and for a moment after them, batches have half as many rows as they, and one at least.
        """
        live, now = rows.total() - batched(rows), self._clock()
        with self._lock:
            if live or any(not tenant.endswith(BATCH) for tenant in self._queues):
                self._live_at = now
            full = now - self._live_at < LIVE_SECONDS and batched(rows) >= max(1, live // 2)
            tenants = [who for who in self._queues if not (full and who.endswith(BATCH))]
            tenant = min(tenants, key=lambda who: weighed(who, rows[who]), default=None)
            return None if tenant is None else self._queues[tenant][0]

    def take(self, generation: Generation) -> None:
        """Remove the one that `next` returned; its tenant's turn is over."""
        with self._lock:
            queue = self._queues.pop(generation.tenant)
            queue.popleft()
            if queue:
                self._queues[generation.tenant] = queue

    def drop_cancelled(self) -> int:
        """Forget those that nobody waits for any more; returns how many."""
        with self._lock:
            before = sum(map(len, self._queues.values()))
            left = {tenant: deque(g for g in queue if not g.cancelled) for tenant, queue in self._queues.items()}
            self._queues = {tenant: queue for tenant, queue in left.items() if queue}
            return before - sum(map(len, self._queues.values()))

    def drain(self) -> list[Generation]:
        """Remove and return all."""
        with self._lock:
            queues, self._queues = self._queues, {}
            return [generation for queue in queues.values() for generation in queue]
