"""Emit in memory."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from contracts import envelope
from contracts.envelope import Event


class MemoryEmit:
    """The `Emit` port as a list: `events` is the log, and subscribers hear each event before the publisher goes on."""

    def __init__(self, signing_key: bytes = b"memory") -> None:
        self.events: list[Event] = []
        self._signing_key = signing_key
        self._subscribers: list[Callable[[Event], Awaitable[None]]] = []

    def subscribe(self, handler: Callable[[Event], Awaitable[None]]) -> None:
        """Let `handler` hear every event from now on."""
        self._subscribers.append(handler)

    async def __call__(self, event: Event) -> Event:
        """Append `event` with a later time than the last one; raises ValueError for what no record could carry."""
        envelope.headers(event, self._signing_key)
        last = self.events[-1].at if self.events else 0
        event = replace(event, at=max(last + 1, time.time_ns() // 1_000_000))
        self.events.append(event)
        for handler in self._subscribers:
            await handler(event)
        return event
