"""What every implementation of the `Requests` port does; a subclass gives the fixture `requests`."""

from __future__ import annotations

import asyncio

from contracts.ports import Requests, Reservation


class RequestsSuite:
    async def test_a_marked_retry_adopts_and_two_deliberate_posts_stay_two(self, requests: Requests) -> None:
        first = await requests.reserve("local", "jobs", None, "body", False, "a")
        second = await requests.reserve("local", "jobs", None, "body", False, "b")
        assert (first, second) == (Reservation("a", "new"), Reservation("b", "new"))
        retried = await requests.reserve("local", "jobs", None, "body", True, "c")
        assert retried == Reservation("b", "adopted")
        await requests.complete(retried)
        assert await requests.reserve("local", "jobs", None, "body", True, "c") == Reservation("a", "adopted")
        await requests.complete(first)
        assert await requests.reserve("local", "jobs", None, "body", True, "d") == Reservation("d", "new")

    async def test_only_the_same_tenants_same_body_on_the_same_route_is_a_retry(self, requests: Requests) -> None:
        await requests.reserve("local", "jobs", None, "body", False, "a")
        await requests.reserve("local", "jobs", "k", "body", False, "keyed")
        for number, other in enumerate((("acme", "jobs", "body"), ("local", "files", "body"), ("local", "jobs", "b"))):
            tenant, route, body = other
            made = await requests.reserve(tenant, route, None, body, True, f"new {number}")
            assert made == Reservation(f"new {number}", "new")
        assert await requests.reserve("local", "jobs", None, "body", True, "z") == Reservation("a", "adopted")

    async def test_one_idempotency_key_is_one_object_for_fifty_callers(self, requests: Requests) -> None:
        made = [requests.reserve("local", "jobs", "k", "body", False, f"i{number}") for number in range(50)]
        answers = await asyncio.gather(*made)
        assert len({answer.id for answer in answers}) == 1
        assert sorted(answer.state for answer in answers) == ["adopted"] * 49 + ["new"]

    async def test_a_key_is_kept_whatever_became_of_the_reply_and_another_body_is_a_mismatch(
        self, requests: Requests
    ) -> None:
        first = await requests.reserve("local", "jobs", "k", "body", False, "a")
        await requests.complete(first)
        assert await requests.reserve("local", "jobs", "k", "body", False, "b") == Reservation("a", "adopted")
        assert await requests.reserve("local", "jobs", "k", "other", True, "c") == Reservation("a", "mismatch")
        for tenant, route in (("acme", "jobs"), ("local", "files")):
            made = await requests.reserve(tenant, route, "k", "body", False, f"{tenant} {route}")
            assert made == Reservation(f"{tenant} {route}", "new")
