"""Streamed responses in the background through crashes and outages: what was shown stays, and there is one answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from openai.types.responses import Response

from contracts.events.completions import STAGE
from contracts.ports import AbandonedError, UnavailableError
from functions._shared.segments import FIRST, Segments
from functions.answer_response import telling
from functions.answer_response.work import work
from functions.edge import events
from tests.functional.responding import Says, call
from tests.functional.streaming import (
    ANSWER,
    Coarse,
    Reader,
    asked,
    blobs,
    call_id,
    kinds,
    numbers,
    quick,
    read,
)
from tests.functional.test_answer_response import Crash, Making, making, until
from tests.leases import held

__all__ = ["making", "quick"]


MOMENTS = ("an event", "the last event", "the content", "the one blob", "removing")


@pytest.mark.parametrize("moment", MOMENTS)
async def test_whoever_goes_on_after_a_crash_shows_the_same_events_and_goes_on_behind_them(
    making: Making, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    making.model.says = [ANSWER, Coarse(**vars(ANSWER))]
    reader = Reader(making)
    await reader.until(FIRST)
    store, puts = making.world.blobs, 0

    async def put(key: str, data: bytes, *given: Any, **more: Any) -> Any:
        nonlocal puts
        puts += 1
        found = await type(store).put(store, key, data, *given, **more)
        last = "/events/" in key and not data
        if {"an event": puts == 8, "the last event": last, "the content": key.endswith("/content"),
            "the one blob": key.endswith(".z")}.get(moment):  # fmt: skip
            raise Crash
        return found

    async def remove(keys: list[str]) -> None:
        await type(store).remove(store, keys[: len(keys) // 2])
        raise Crash

    with monkeypatch.context() as broken:
        broken.setattr(store, "put", put)
        if moment == "removing":
            broken.setattr(store, "remove", remove)
        with pytest.raises(Crash):
            await making.attempt(reader.id)
    if moment == "an event":
        await reader.until(8)
        await reader.leave()
    await making.attempt(reader.id)
    told = await read(making, reader.id)
    assert numbers(told) == [*range(len(told))]
    assert told[: len(reader.seen)] == reader.seen
    if moment != "an event":
        assert await reader.rest() == told
    done = await making.get(reader.id)
    assert (done.output_text, kinds(told)[-1]) == ("one two three four", "completed")
    assert Response.model_validate(told[-1]["response"]) == done
    deltas = [each["delta"] for each in told if each["type"] == "response.output_text.delta"]
    assert "".join(deltas) == done.output_text
    calls = {each["item"]["call_id"] for each in told if each.get("item", {}).get("type") == "function_call"}
    assert calls == {call_id(done)}
    assert await blobs(making, reader.id) == ["content", "events.z", "request"]


async def test_an_answer_that_comes_out_otherwise_fails_and_two_answers_are_never_shown(making: Making) -> None:
    making.model.says, making.model.breaks = [Says("one two three")], True
    reader = Reader(making)
    await reader.until(FIRST)
    with pytest.raises(UnavailableError):
        await making.attempt(reader.id)
    assert len(making.model.asked) == 4, "it broke off four times, and was the same each time"
    making.model.says, making.model.breaks = [Says("one six three")], False
    await making.attempt(reader.id)
    told = await reader.rest()
    failed = await making.get(reader.id)
    assert failed.error is not None
    assert (failed.status, "came out otherwise" in failed.error.message) == ("failed", True)
    deltas = [each["delta"] for each in told if each["type"] == "response.output_text.delta"]
    assert "".join(deltas) == "one two three"
    assert Response.model_validate(told[-1]["response"]) == failed
    assert await read(making, reader.id) == told


FOUR = "one two three four"


@pytest.mark.parametrize(
    "again", [Says("one two"), Says(FOUR + " five"), Says(FOUR + " "), Says(FOUR, calls=(call("f"),))]
)
async def test_one_that_ends_elsewhere_differs_too(
    making: Making, again: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    making.model.says = [Says(FOUR), again]
    id = await asked(making)
    store = making.world.blobs

    async def put(key: str, *given: Any, **more: Any) -> Any:
        if key.endswith("/content"):
            raise Crash
        return await type(store).put(store, key, *given, **more)

    with monkeypatch.context() as broken:
        broken.setattr(store, "put", put)
        with pytest.raises(Crash):
            await making.attempt(id)
    shown = await Segments(store, "local", id).kept()
    await making.attempt(id)
    assert (await making.get(id)).status == "failed"
    assert len(await read(making, id)) == FIRST + len(shown[0]) + 1


async def test_whoever_goes_on_reads_nothing_before(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    making.model.says, making.model.breaks = [ANSWER], True
    id = await asked(making)
    with pytest.raises(UnavailableError):
        await making.attempt(id)
    kept = [key for key in await blobs(making, id) if "/" in key]
    last, store, got = int(kept[-1].rpartition("/")[2]), making.world.blobs, list[str]()
    reader = Reader(making, id, last)

    async def get(key: str) -> bytes:
        got.append(key)
        return await type(store).get(store, key)

    monkeypatch.setattr(store, "get", get)
    await until(lambda: len(got) > 4)
    await reader.leave()
    assert not {key for key in got if key.endswith(tuple(kept[:-1]))}


async def test_a_worker_that_was_overtaken_adds_nothing(making: Making) -> None:
    making.model.says, making.model.waits = [ANSWER, Coarse(**vars(ANSWER))], asyncio.Event()
    reader = Reader(making)
    await reader.until(FIRST)
    slow = asyncio.create_task(making.attempt(reader.id))
    await reader.until(8)
    waits, making.model.waits = making.model.waits, None
    await making.attempt(reader.id)
    told = await reader.rest()
    waits.set()
    with pytest.raises(AbandonedError):
        await slow
    assert await read(making, reader.id) == told
    assert making.said("completion.recorded") == 1


async def test_two_who_tell_at_the_same_time_tell_one_answer(making: Making) -> None:
    making.model.says = [ANSWER, Coarse(**vars(ANSWER)), ANSWER]
    reader = Reader(making)
    await reader.until(FIRST)
    results = await asyncio.gather(*(making.attempt(reader.id) for _ in range(2)), return_exceptions=True)
    assert [type(each) for each in results if each is not None] in ([], [AbandonedError])
    told = await reader.rest()
    assert numbers(told) == [*range(len(told))]
    deltas = [each["delta"] for each in told if each["type"] == "response.output_text.delta"]
    assert "".join(deltas) == "one two three four"


async def test_segments_grow_with_time_and_end_with_bytes(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "SEGMENT_MS", 500)
    monkeypatch.setattr(telling, "SEGMENT_BYTES", 2**20)
    making.model.says = [Says(" ".join("w" * 400))]
    store, sizes = making.world.blobs, list[int]()

    async def put(key: str, data: bytes, *given: Any, **more: Any) -> Any:
        if "/events/" in key:
            sizes.append(data.count(b"output_text.delta\n"))
        return await type(store).put(store, key, data, *given, **more)

    clock = count(10**12, 10)
    monkeypatch.setattr(store, "put", put)
    lease = held(await asked(making), "local", STAGE, {"event_id": "e"}, making.world.controls)
    await work(lease, replace(making.ports, now=lambda: next(clock)))
    assert sum(sizes) == 400
    assert len(sizes) < 40, sizes


async def test_a_put_that_was_tried_twice_finds_itself_there(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    making.model.says = [ANSWER]
    id, store = await asked(making), making.world.blobs

    async def put(key: str, *given: Any, **more: Any) -> Any:
        await type(store).put(store, key, *given, **more)
        return await type(store).put(store, key, *given, **more)

    with monkeypatch.context() as twice:
        twice.setattr(store, "put", put)
        await making.attempt(id)
    assert (await making.get(id)).status == "completed"
    assert len(making.model.asked) == 1


async def test_while_the_stores_are_away_the_stream_waits(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    making.model.says, making.model.waits = [ANSWER], asyncio.Event()
    monkeypatch.setattr(events, "PING_SECONDS", 0)
    reader = Reader(making)
    await reader.until(FIRST)
    working = asyncio.create_task(making.attempt(reader.id))
    await reader.until(7)
    store, looked = making.world.blobs, asyncio.Event()

    async def away(*_: Any) -> Any:
        looked.set()
        raise UnavailableError("minio")

    with monkeypatch.context() as broken:
        broken.setattr(store, "get", away)
        async with asyncio.timeout(10):
            await looked.wait()
    making.model.waits.set()
    told = await reader.rest()
    await working
    assert (numbers(told), kinds(told)[-1]) == ([*range(len(told))], "completed")
