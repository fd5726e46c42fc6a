"""Responses in the background that are streamed: one sequence of events for whoever reads, whatever dies."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
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
from functions.edge.app import create_app
from functions.erase_content.core import ended_completion
from functions.erase_content.handler import ErasurePorts, on_event
from tests.functional.edge import BASE, CannedReply
from tests.functional.responding import Model, Says, call
from tests.functional.test_answer_response import Crash, Making, making, refused, until
from tests.functional.test_edge_completions import Caller
from tests.leases import held

__all__ = ["making"]
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


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "SEGMENT_MS", 0)
    for name in ("_SOON", "_MOST"):
        monkeypatch.setattr(events, name, 0.002)


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


async def test_it_is_streamed_to_its_end_and_again_behind_every_event(making: Making) -> None:
    making.model.says = [ANSWER]
    await making.opened()

    async def work() -> None:
        await until(lambda: making.said("completion.requested"))
        (event,) = [each for each in making.world.emit.events if each.type == "completion.requested"]
        await making.attempt(event.subject)

    working = asyncio.create_task(work())
    told = await streamed(making)
    await working
    found = [each.model_dump(mode="json", exclude_unset=True) for each in told]
    assert kinds(found)[:4] == ["created", "queued", "in_progress", "output_item.added"]
    assert [each["response"]["status"] for each in found[:3]] == ["queued", "queued", "in_progress"]
    assert numbers(found) == [*range(len(found))]
    id = found[0]["response"]["id"]
    done = await making.get(id)
    assert (kinds(found)[-1], told[-1].response) == ("completed", done)
    deltas = [each["delta"] for each in found if each["type"] == "response.output_text.delta"]
    assert "".join(deltas) == done.output_text == "one two three four"
    assert call_id(done).startswith("call_" + id.removeprefix("resp_"))
    whole = await read(making, id)
    assert numbers(whole) == numbers(found)
    for after in (None, *range(len(found) + 2)):
        assert await read(making, id, after) == whole[0 if after is None else after + 1 :]
    assert await blobs(making, id) == ["content", "events.z", "request"]
    assert isinstance(making.model.asked[0]["seed"], int)


async def test_a_client_that_leaves_stops_nothing_and_goes_on_at_another_edge(making: Making) -> None:
    making.model.says, making.model.waits = [ANSWER], asyncio.Event()
    reader = Reader(making)
    await reader.until(FIRST)
    working = asyncio.create_task(making.attempt(reader.id))
    first = [*await reader.until(7)]
    await reader.leave()
    assert making.model.stopped == 0
    making.world.app = create_app(making.world.deps)  # the edge began anew
    other, late = Reader(making, reader.id, first[-1]["sequence_number"]), Reader(making, reader.id)
    await late.until(len(first))
    assert (await making.get(reader.id)).status == "in_progress"
    making.model.waits.set()
    assert first + await other.rest() == await late.rest() == await read(making, reader.id)
    await working
    assert kinds(late.seen)[-1] == "completed"


async def test_what_a_reader_was_behind_when_the_segments_became_one_blob_is_not_missed(making: Making) -> None:
    making.model.says = [ANSWER]
    id = await asked(making)
    await making.attempt(id)
    whole = await read(making, id)
    view = await making.world.documents.get("completions", id)
    assert view is not None
    segments = Segments(making.world.blobs, "local", id)
    for place in range(FIRST, len(whole) - 1):  # somebody who looks at a moment when both are there
        await segments.add(place, [])
    assert await read(making, id, 4) == whole[5:]


@pytest.mark.parametrize("moment", ["queued", "running"])
async def test_cancelling_ends_the_stream_and_nothing_is_added_to_it(making: Making, moment: str) -> None:
    making.model.says, making.model.waits = [ANSWER], asyncio.Event()
    reader = Reader(making)
    await reader.until(FIRST)
    working = asyncio.create_task(making.attempt(reader.id)) if moment == "running" else None
    await reader.until(7 if working else FIRST)
    cancelled = await making.client.responses.cancel(reader.id)
    told = await reader.rest()
    assert kinds(told)[-1] == "failed", "as at OpenAI, whose events know no other for what was cancelled"
    assert Response.model_validate(told[-1]["response"]) == cancelled
    assert (cancelled.status, numbers(told)) == ("cancelled", [*range(len(told))])
    making.model.waits.set()
    if working:
        with pytest.raises(AbandonedError):
            await working
    assert await read(making, reader.id) == told


async def test_a_deletion_in_the_middle_leaves_nothing_and_ends_the_stream(making: Making) -> None:
    making.model.says, making.model.waits = [ANSWER], asyncio.Event()
    reader = Reader(making)
    await reader.until(FIRST)
    working = asyncio.create_task(making.attempt(reader.id))
    await reader.until(7)
    await making.client.responses.delete(reader.id)
    assert kinds(await reader.rest())[-1] == "failed"
    making.model.waits.set()
    with pytest.raises(AbandonedError):
        await working
    assert await blobs(making, reader.id) == []
    assert (await refused(making.client.responses.retrieve(reader.id, stream=True))).status_code == 404


async def test_a_deletion_while_a_segment_or_an_end_is_put_leaves_nothing(
    making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = making.world.blobs
    for doomed in ("events/", "events.z", "end"):
        making.model.says = [ANSWER]
        id = await asked(making)
        if doomed == "end":
            await making.client.responses.cancel(id)

        async def put(key: str, *given: Any, id: str = id, doomed: str = doomed, **more: Any) -> Any:
            if doomed in key or doomed == "end":
                await making.client.responses.delete(id)
            return await type(store).put(store, key, *given, **more)

        monkeypatch.setattr(store, "put", put)
        if doomed == "end":
            await read(making, id)
        else:
            with pytest.raises(AbandonedError):
                await making.attempt(id)
        monkeypatch.undo()
        assert await blobs(making, id) == []


async def test_expiry_and_erasure_reach_the_events(making: Making) -> None:
    world = making.world
    making.model.says = [ANSWER]
    done, begun = await asked(making), await asked(making)
    await making.attempt(done)
    await Segments(world.blobs, "local", begun).add(FIRST, [b"event: x\ndata: {}\n\n"])
    for id in (done, begun):
        view = await world.documents.get("completions", id)
        assert view is not None
        event = await world.emit(ended_completion(view, "expired"))
        await world.documents.apply(event)

        async def publish(_: Any) -> None:
            raise AssertionError("nothing else ends")

        await on_event(event, ErasurePorts(world.documents, world.blobs, world.controls, publish))
        assert await blobs(making, id) == []


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


@pytest.mark.parametrize("again", ["one two", "one two three four five", "one two three four "])
async def test_one_that_ends_elsewhere_differs_too(making: Making, again: str, monkeypatch: pytest.MonkeyPatch) -> None:
    making.model.says = [Says("one two three four"), Says(again)]
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


async def test_what_serving_says_no_to_or_breaks_ends_the_stream(making: Making) -> None:
    no = {"error": {"message": "Invalid schema for response_format 'answer'.", "param": "response_format"}}
    making.model.says = [(400, no)]
    id = await asked(making)
    await making.attempt(id)
    told = await read(making, id)
    assert kinds(told) == ["created", "queued", "failed"]
    assert told[-1]["response"]["error"]["message"] == "Invalid schema for text.format 'answer'."
    broken = b'data: {"error": {"message": "It broke.", "type": "server_error"}}\n\n'

    async def chunks() -> Any:
        yield broken

    class Broken(Model):
        async def __call__(self, *_: Any) -> Any:
            return CannedReply(200, {"content-type": "text/event-stream"}, chunks())

    making.model = Broken([])
    id = await asked(making)
    await making.attempt(id)
    assert kinds(await read(making, id)) == ["created", "queued", "in_progress", "failed"]


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


async def test_what_has_no_events_is_refused_in_openais_words(making: Making) -> None:
    silent = await making.made()
    said = await refused(making.client.responses.retrieve(silent.id, stream=True))
    sentence = "This response cannot be streamed because it was not created with"
    assert (said.status_code, said.param, f"{sentence} stream=true." in said.message) == (400, "stream", True)
    making.world.complete = making.model
    whole = await making.client.responses.create(model=BASE, input="Hi")
    said = await refused(making.client.responses.retrieve(whole.id, stream=True))
    assert (said.status_code, said.param, f"{sentence} background=true." in said.message) == (400, "stream", True)
    assert await blobs(making, silent.id) == ["content", "request"]
    said = await refused(making.client.responses.retrieve(whole.id, stream=True, starting_after=-1))
    assert (said.status_code, said.param) == (400, "starting_after")


async def test_a_tenant_has_so_many_streams_and_one_that_ends_makes_room(
    making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MOST_STREAMS", 1)
    reader = Reader(making)
    await reader.until(FIRST)
    for more in (making.client.responses.retrieve(reader.id, stream=True), streamed(making)):
        said = await refused(more)
        assert (said.status_code, said.code) == (429, "too_many_streams")
    assert making.said("completion.requested") == 1
    await reader.leave()
    again = Reader(making, reader.id)
    await again.until(FIRST)
    await again.leave()
    assert making.world.deps.streams["local"] == 0


async def test_a_retry_streams_the_same_response(making: Making) -> None:
    key = {"extra_headers": {"idempotency-key": "k"}}
    making.model.says = [ANSWER]
    id = await asked(making)
    await making.attempt(id)
    same: list[list[Any]] = []
    for _ in range(2):
        stream = asyncio.create_task(streamed(making, **key))
        await until(lambda: making.said("completion.requested") == 2)
        (other,) = {each.subject for each in making.world.emit.events if each.type == "completion.requested"} - {id}
        if not same:
            await making.attempt(other)
        same.append(await stream)
    assert same[0] == same[1]
    assert making.said("completion.requested") == 2


async def test_nobody_elses_is_streamed_and_head_ends_at_once(making: Making) -> None:
    id = await asked(making)
    async with making.world.client(await making.world.key("other", 1)) as other:
        assert (await other.get(f"/v1/responses/{id}?stream=true")).status_code == 404
    async with making.world.client(making.client.api_key) as api:
        assert (await api.head(f"/v1/responses/{id}?stream=true")).status_code == 200
