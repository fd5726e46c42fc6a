"""What batches ask has half the priority of what somebody waits for."""

from __future__ import annotations

from collections import Counter
from typing import Any

from functions.generate_text.fair_queue import LIVE_SECONDS, FairQueue, weighed


class Waiting:
    """A choice that waits."""

    cancelled = False

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant


def test_a_tenants_batches_count_twice_and_yield_where_they_are_even() -> None:
    assert weighed("acme", 2) < weighed("acme/batch", 1)
    assert weighed("acme/batch", 1) < weighed("acme", 4)
    assert weighed("acme", 0) < weighed("acme/batch", 0)


def test_beside_live_requests_and_a_moment_after_batches_have_half_as_many_rows_and_one_at_least() -> None:
    now = 0.0
    queue, rows = FairQueue(10, lambda: now), Counter[str]()
    asked: Any = [Waiting("acme/batch"), Waiting("other/batch")]
    for each in asked:
        queue.add(each)
    rows["acme/batch"] = 3
    assert queue.next(rows) is asked[1], "nobody waits: batches have the machine"
    rows["acme"] = 7
    assert queue.next(rows) is None
    rows["acme"] = 8
    assert queue.next(rows) is asked[1]
    rows["acme"] = 0
    now += LIVE_SECONDS / 2
    assert queue.next(rows) is None, "the next one is expected"
    rows["acme/batch"] = 0
    assert queue.next(rows) in asked, "they never stand still"
    rows["acme/batch"] = 3
    live: Any = Waiting("acme")
    queue.add(live)
    assert queue.next(rows) is live
    queue.take(live)
    now += LIVE_SECONDS
    assert queue.next(rows) is asked[1]
