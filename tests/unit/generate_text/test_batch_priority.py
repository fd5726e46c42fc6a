"""What batches ask has half the priority of what somebody waits for."""

from __future__ import annotations

from functions.generate_text.fair_queue import weighed


def test_a_tenants_batches_count_twice_and_yield_where_they_are_even() -> None:
    assert weighed("acme", 2) < weighed("acme/batch", 1)
    assert weighed("acme/batch", 1) < weighed("acme", 4)
    assert weighed("acme", 0) < weighed("acme/batch", 0)
