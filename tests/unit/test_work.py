"""Work under a lease, in parts that need no server."""

from __future__ import annotations

import asyncio

import pytest

from infra.work import Bells


async def test_a_ring_wakes_whoever_waits_for_that_stage() -> None:
    bells = Bells()
    waiting = asyncio.create_task(bells.wait("train"))
    await asyncio.sleep(0)
    bells("prepare")
    await asyncio.sleep(0)
    assert not waiting.done()
    bells("train")
    await waiting


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_a_cancellation_that_comes_with_a_ring_is_not_lost(turns: int) -> None:
    bells = Bells()
    waiting = asyncio.create_task(bells.wait("train"))
    await asyncio.sleep(0)
    bells("train")
    for _ in range(turns):  # of the loop, until the waiter sees the ring
        await asyncio.sleep(0)
    accepted = waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled() == accepted
