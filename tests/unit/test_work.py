"""Work under a lease, in parts that need no server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from contracts.ports import UnavailableError
from infra.work import Bells, Runner, Stage


async def test_a_ring_wakes_whoever_waits_for_that_stage() -> None:
    bells = Bells()
    waiting = asyncio.create_task(bells.wait("train"))
    await asyncio.sleep(0)
    bells("prepare")
    await asyncio.sleep(0)
    assert not waiting.done()
    bells("train")
    await waiting


async def test_what_nobody_rang_for_is_seen_by_the_watch_and_an_outage_is_told_to_all() -> None:
    class Answering:
        def __init__(self) -> None:
            self.said: Any = {"train"}

        async def claimable(self) -> set[str]:
            if isinstance(self.said, Exception):
                raise self.said
            return set(self.said)

    controls: Any = Answering()
    bells = Bells()
    waiting = {stage: asyncio.create_task(bells.wait(stage)) for stage in ("train", "prepare")}
    watching = asyncio.create_task(bells.watch(controls))
    async with asyncio.timeout(5):
        await waiting["train"]
        assert not waiting["prepare"].done()
        controls.said = UnavailableError("MongoDB does not answer")
        await waiting["prepare"]
    watching.cancel()


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


async def test_a_runner_ends_even_where_a_library_swallows_its_cancellation() -> None:
    asked = asyncio.Event()

    class Swallowing:
        async def claim(self, *_: Any) -> None:
            asked.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return

    unused: Any = None
    swallowing: Any = Swallowing()
    stage = Stage("train", unused, unused, {})
    runner = Runner(stage, "me", swallowing, unused, unused, Bells())
    running = asyncio.create_task(runner.run())
    await asked.wait()
    running.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait({running})
    assert running.cancelled()
