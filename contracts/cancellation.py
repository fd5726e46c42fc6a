"""Cancelling, some libraries swallow it, as `wait_for` of 3.11 can, some leave things open."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


def heed_cancellation() -> None:
    """Raise CancelledError again where somebody swallowed it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def pause(seconds: float) -> None:
    """Sleep between two rounds of a loop that runs until it is cancelled."""
    heed_cancellation()
    await asyncio.sleep(seconds)


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await what must not be cut off halfway; a cancellation counts once it is done."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
