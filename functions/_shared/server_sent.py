"""Server-sent events as the serving process writes them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from contracts.ports import UnavailableError


async def server_sent(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield each event of a stream whole, its two line ends included."""
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        while (at := held.find(b"\n\n")) >= 0:
            yield bytes(held[: at + 2])
            del held[: at + 2]


def data_of(event: bytes) -> bytes:
    """Return what the `data` line of an event says."""
    return event.strip().removeprefix(b"data:").strip()


async def chat_chunks(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """Yield each chunk of a chat, an error included; raises UnavailableError where the stream breaks off."""
    async for event in server_sent(chunks):
        data = data_of(event)
        if data == b"[DONE]":
            return
        yield msgspec.json.decode(data)
    raise UnavailableError("serving", "the serving process went away in the middle of the answer")
