"""Server-sent events: as the serving process writes those of chats, and as those of responses are written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
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


def written(event: Mapping[str, Any]) -> bytes:
    """Return an event of a response as it is sent."""
    kind: str = event["type"]
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"


def read_back(event: bytes) -> dict[str, Any]:
    """Return an event of a response that was `written`."""
    said: dict[str, Any] = msgspec.json.decode(event.partition(b"\ndata: ")[2])
    return said


def split(events: bytes) -> list[bytes]:
    """Return events that stand one behind the other, each with its two line ends."""
    return [event + b"\n\n" for event in events.split(b"\n\n")[:-1]]


async def chat_chunks(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """Yield each chunk of a chat, an error included; raises UnavailableError where the stream breaks off."""
    async for event in server_sent(chunks):
        data = data_of(event)
        if data == b"[DONE]":
            return
        yield msgspec.json.decode(data)
    raise UnavailableError("serving", "the serving process went away in the middle of the answer")
