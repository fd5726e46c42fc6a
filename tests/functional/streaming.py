"""Responses in the background that are streamed, and clients that read them event by event."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest
from openai.types.responses import Response

from functions._shared.segments import FIRST
from functions.answer_response import telling
from functions.edge import events
from tests.functional.edge import BASE
from tests.functional.responding import Says, call
from tests.functional.test_answer_response import Making
from tests.functional.test_edge_completions import Caller

ASKED: dict[str, Any] = {"model": BASE, "input": "Hi", "background": True, "stream": True}
ANSWER = Says("one two three four", thought="a b c", calls=(call("f", '{"x": 1}'),), finish="tool_calls")


@dataclass
class Coarse(Says):
    """The same answer, its words in other pieces and its calls with other ids."""

    size: int = 5

    def deltas(self) -> list[dict[str, Any]]:
        first, *rest = super().deltas()
        calls = [each for each in rest if "tool_calls" in each]
        for each in calls:
            if "id" in each["tool_calls"][0]:
                each["tool_calls"][0]["id"] = "call_other"
        cut = [
            {name: text[at : at + self.size]}
            for name, text in (("reasoning_content", self.thought), ("content", self.content))
            for at in range(0, len(text), self.size)
        ]
        return [first, *cut, *calls]


class Reader:
    """A client at an edge that reads events one by one and can leave."""

    def __init__(self, making: Making, id: str | None = None, after: int | None = None) -> None:
        path = f"/v1/responses/{id}?stream=true" + (f"&starting_after={after}" if after is not None else "")
        made = ("/v1/responses", ASKED, "POST") if id is None else (path, None, "GET")
        self.caller = Caller(making.world, making.client.api_key, *made)
        self.head: Any = None
        self.seen: list[dict[str, Any]] = []
        self._held = b""

    async def more(self) -> bool:
        """Take what comes next; returns whether there may be more."""
        async with asyncio.timeout(10):
            if self.head is None:
                self.head = await self.caller.sent.get()
                assert self.head["status"] == 200
            message = await self.caller.sent.get()
        *whole, self._held = (self._held + message["body"]).split(b"\n\n")
        self.seen += [json.loads(each.partition(b"data: ")[2]) for each in whole if each[:1] != b":"]
        return bool(message["more_body"])

    async def until(self, count: int) -> list[dict[str, Any]]:
        while len(self.seen) < count:
            assert await self.more()
        return self.seen

    async def rest(self) -> list[dict[str, Any]]:
        while await self.more():
            pass
        await self.caller.task
        return self.seen

    async def leave(self) -> None:
        self.caller.gone.set()
        await asyncio.wait_for(self.caller.task, 5)

    @property
    def id(self) -> str:
        found: str = self.seen[0]["response"]["id"]
        return found


async def read(making: Making, id: str, after: int | None = None) -> list[dict[str, Any]]:
    """All events behind `after`."""
    return await Reader(making, id, after).rest()


async def asked(making: Making) -> str:
    """The id of one that was asked for by a client that left after its first events."""
    reader = Reader(making)
    await reader.until(FIRST)
    await reader.leave()
    return reader.id


async def streamed(making: Making, **more: Any) -> list[Any]:
    """All events of a new one, as the official client reads them."""
    stream: Any = await making.client.responses.create(**ASKED, **more)
    return [event async for event in stream]


def call_id(done: Response) -> str:
    """Of the last item."""
    item = done.output[-1]
    assert item.type == "function_call"
    return item.call_id


def numbers(found: list[dict[str, Any]]) -> list[int]:
    return [each["sequence_number"] for each in found]


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [each["type"].removeprefix("response.") for each in found]


async def blobs(making: Making, id: str) -> list[str]:
    return [key.removeprefix(f"local/{id}/") for key in await making.world.blobs.list(f"local/{id}/")]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event is kept at once, and looked for at once."""
    monkeypatch.setattr(telling, "SEGMENT_MS", 0)
    for name in ("_SOON", "_NEXT", "_MOST"):
        monkeypatch.setattr(events, name, 0.002)
