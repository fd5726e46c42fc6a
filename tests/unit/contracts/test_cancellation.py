"""A loop ends when it is told to, whatever became of the cancellation inside it."""

from __future__ import annotations

import asyncio

from contracts.cancellation import pause, to_its_end


async def test_a_loop_ends_although_its_cancellation_was_swallowed() -> None:
    inside, rounds = asyncio.Event(), 0

    async def swallowing() -> None:
        try:
            inside.set()
            await asyncio.Future()
        except asyncio.CancelledError:
            return

    async def loop() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await swallowing()
            await pause(0)

    task = asyncio.create_task(loop())
    await inside.wait()
    task.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait({task})
    assert task.cancelled()
    assert rounds == 1


async def test_what_was_begun_comes_to_its_end_before_the_cancellation_counts() -> None:
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), False

    async def start() -> None:
        nonlocal ended
        begun.set()
        await go_on.wait()
        ended = True

    task = asyncio.create_task(to_its_end(start()))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    await asyncio.wait({task})
    assert task.cancelled()
    assert ended
