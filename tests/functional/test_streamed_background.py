"""Responses in the background that are streamed: one sequence of events for whoever reads, whatever dies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from openai.types.responses import Response

from contracts.ports import AbandonedError
from functions._shared.segments import FIRST, Segments
from functions.edge import events
from functions.edge.app import create_app
from functions.erase_content.core import ended_completion
from functions.erase_content.handler import ErasurePorts, on_event
from tests.functional.edge import BASE, CannedReply
from tests.functional.responding import Model
from tests.functional.streaming import (
    ANSWER,
    Reader,
    asked,
    blobs,
    call_id,
    kinds,
    numbers,
    quick,
    read,
    streamed,
)
from tests.functional.test_answer_response import Making, making, refused, until

__all__ = ["making", "quick"]


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
    view = await making.world.documents.get("completions", id)
    assert view is not None
    assert view["bytes"] == sum([each.bytes async for each in making.world.blobs.walk(f"local/{id}/")])
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


async def test_a_stream_that_began_is_a_complete_reply_which_no_marked_retry_adopts(making: Making) -> None:
    first = await asked(making)
    making.model.says = [ANSWER]
    again = asyncio.create_task(streamed(making, extra_headers={"x-stainless-retry-count": "1"}))
    await until(lambda: making.said("completion.requested") == 2)
    (other,) = {each.subject for each in making.world.emit.events if each.type == "completion.requested"} - {first}
    await making.attempt(other)
    assert (await again)[-1].response.id == other


async def test_nobody_elses_is_streamed_and_head_ends_at_once(making: Making) -> None:
    id = await asked(making)
    async with making.world.client(await making.world.key("other", 1)) as other:
        assert (await other.get(f"/v1/responses/{id}?stream=true")).status_code == 404
    async with making.world.client(making.client.api_key) as api:
        assert (await api.head(f"/v1/responses/{id}?stream=true")).status_code == 200
