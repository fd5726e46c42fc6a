"""P1: /v1/responses as the official client knows it: in and out, in order, kept, bounded, and nobody else's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai.types.responses import Response, ResponseItem, ResponseStreamEvent
from pydantic import TypeAdapter

from contracts.ports import UnavailableError
from contracts.wire.completions import Chat
from contracts.wire.errors import ApiError
from contracts.wire.responses import ResponseRequest
from functions._shared import responding
from tests.functional.edge import BASE, World
from tests.functional.responding import Model, Says, call
from tests.functional.test_edge_completions import Caller
from tests.functional.test_edge_files import error

PATH = "/v1/responses"
RECORDED = json.loads((Path(__file__).parent / "recorded_responses.json").read_text())
TOOL = {"type": "function", "name": "weather", "description": "Now.", "parameters": {"type": "object"}, "strict": True}
FORM: dict[str, Any] = {"type": "json_schema", "name": "answer", "strict": False}
_events: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_items: TypeAdapter[Any] = TypeAdapter(ResponseItem)


def strict(found: dict[str, Any]) -> Response:
    """The response, by the official client's own types."""
    return Response.model_validate(found, strict=True)


async def made(api: httpx.AsyncClient, **asked: Any) -> dict[str, Any]:
    answer = await api.post(PATH, json={"model": BASE, "input": "Hi", **asked})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    strict(found)
    return found


async def streamed(api: httpx.AsyncClient, **asked: Any) -> list[dict[str, Any]]:
    answer = await api.post(PATH, json={"model": BASE, "input": "Hi", "stream": True, **asked})
    assert answer.status_code == 200, answer.text
    events = []
    for block in answer.text.strip().split("\n\n"):
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        _events.validate_python(event)
        events.append(event)
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    return events


def shape(output: list[dict[str, Any]]) -> list[Any]:
    """An output without its ids."""
    return [{name: value for name, value in item.items() if name != "id"} for item in output]


async def test_a_text_is_answered_by_a_message(world: World, api: httpx.AsyncClient) -> None:
    world.complete = model = Model([Says("red 3")])
    found = await made(api, instructions="Be brief.", max_output_tokens=9, temperature=0.5, user="u")
    assert model.asked == [
        {
            "model": BASE,
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
            "max_completion_tokens": 9,
            "temperature": 0.5,
        }
    ]
    assert strict(found).output_text == "red 3"
    assert (found["status"], found["usage"]["total_tokens"], found["max_output_tokens"]) == ("completed", 5, 9)
    assert (found["instructions"], found["user"], found["store"]) == ("Be brief.", "u", True)


async def test_what_a_turn_thought_said_and_called_is_one_message_of_the_chat(
    world: World, api: httpx.AsyncClient
) -> None:
    world.complete = model = Model([Says("It is 3.")])
    items = [
        {"role": "developer", "content": "Obey."},
        {"role": "user", "content": [{"type": "input_text", "text": "How "}, {"type": "input_text", "text": "warm?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Ask."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me see."}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"at": "A"}'},
        {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": ""},
        {"type": "function_call_output", "call_id": "c1", "output": "3"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "4"}]},
        {"role": "assistant", "content": "So."},
        {"role": "user", "content": "So?"},
    ]
    tools = [TOOL, {"type": "function", "name": "f", "parameters": None, "strict": None}]
    found = await made(api, input=items, tools=tools, tool_choice={"type": "function", "name": "weather"})
    calls = [call("weather", '{"at": "A"}', "c1"), call("weather", "{}", "c2")]
    assert model.asked[0]["messages"] == [
        {"role": "developer", "content": "Obey."},
        {"role": "user", "content": "How warm?"},
        {"role": "assistant", "reasoning_content": "Ask.", "content": "Let me see.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
        {"role": "tool", "tool_call_id": "c2", "content": "4"},
        {"role": "assistant", "content": "So."},
        {"role": "user", "content": "So?"},
    ]
    function = {"name": "weather", "description": "Now.", "parameters": {"type": "object"}, "strict": True}
    assert model.asked[0]["tools"] == [
        {"type": "function", "function": function},
        {"type": "function", "function": {"name": "f"}},
    ]
    assert model.asked[0]["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert found["tools"][0] == TOOL


ANSWERS = {
    "a text": Says("red 3"),
    "nothing": Says(""),
    "a thought and a text": Says("red", thought="well then"),
    "text, then two calls": Says("so", calls=(call("a", '{"x": 1}'), call("b", "{}", "call_2")), finish="tool_calls"),
    "a call": Says(calls=(call("a"),), finish="tool_calls"),
    "a text that is cut": Says("red", finish="length"),
    "a thought that is cut": Says("", thought="well", finish="length"),
}


@pytest.mark.parametrize("says", ANSWERS.values(), ids=ANSWERS.keys())
async def test_a_stream_tells_in_order_what_is_answered_whole(world: World, api: httpx.AsyncClient, says: Says) -> None:
    world.complete = Model([says])
    whole = await made(api)
    events = await streamed(api)
    kinds = [each["type"].removeprefix("response.") for each in events]
    assert kinds[:2] == ["created", "in_progress"]
    assert events[0]["response"]["status"] == "in_progress"
    last = events[-1]["response"]
    assert kinds[-1] == last["status"] == ("incomplete" if says.finish == "length" else "completed")
    assert shape(last["output"]) == shape(whole["output"])
    assert last["usage"] == whole["usage"]
    assert [item["type"] for item in whole["output"]] == (
        ["reasoning"] * bool(says.thought)
        + ["message"] * bool(says.content or not (says.thought or says.calls))
        + ["function_call"] * len(says.calls)
    )
    expected: list[str] = []
    for index, item in enumerate(last["output"]):
        mine = [each for each in events[2:-1] if each["output_index"] == index]
        assert {each.get("item_id", item["id"]) for each in mine} == {item["id"]}
        told = [each["type"].removeprefix("response.") for each in mine]
        name = {"message": "output_text", "reasoning": "reasoning_text"}.get(item["type"], "function_call_arguments")
        deltas = [each["delta"] for each in mine if each["type"].endswith("delta")]
        inner = [f"{name}.delta"] * len(deltas) + [f"{name}.done"]
        if item["type"] != "function_call":
            inner = ["content_part.added", *inner, "content_part.done"]
        expected += ["output_item.added", *inner, "output_item.done"]
        assert told == ["output_item.added", *inner, "output_item.done"]
        assert "".join(deltas) == (item["arguments"] if "arguments" in item else item["content"][0]["text"])
        assert mine[0]["item"]["status"] == "in_progress"
        assert mine[-1]["item"] == item
    assert kinds[2:-1] == expected  # one item after the other
    if says.finish == "length":
        assert last["incomplete_details"] == {"reason": "max_output_tokens"}
        assert last["output"][-1]["status"] == "incomplete"


async def test_a_thought_is_its_own_summary_where_one_is_asked_for(world: World, api: httpx.AsyncClient) -> None:
    world.complete = model = Model([Says("red", thought="well then")])
    whole = await made(api, reasoning={"summary": "auto", "effort": "low"})
    assert whole["output"][0]["summary"] == [{"type": "summary_text", "text": "well then"}]
    events = await streamed(api, reasoning={"summary": "auto", "effort": "none"})
    told = [each["type"].removeprefix("response.reasoning_summary_") for each in events if "_summary_" in each["type"]]
    assert told == ["part.added", "text.delta", "text.done", "part.done"]
    assert shape(events[-1]["response"]["output"]) == shape(whole["output"])
    switches = [asked["chat_template_kwargs"] for asked in model.asked]
    assert switches == [{"reasoning_effort": "low"}, {"enable_thinking": False}]


async def test_log_probabilities_are_told_where_they_were_asked_for(world: World, api: httpx.AsyncClient) -> None:
    world.complete = model = Model([Says("red 3")])
    asked = {"include": ["message.output_text.logprobs"], "top_logprobs": 1}
    (piece,) = (await made(api, **asked))["output"][0]["content"][0]["logprobs"]
    assert (piece["token"], piece["top_logprobs"][0]["logprob"]) == ("red 3", -0.5)
    assert (model.asked[0]["logprobs"], model.asked[0]["top_logprobs"]) == (True, 1)
    events = await streamed(api, **asked)
    told = [each["logprobs"][0]["token"] for each in events if each["type"] == "response.output_text.delta"]
    assert told == ["red ", "3"]
    assert len(events[-1]["response"]["output"][0]["content"][0]["logprobs"]) == 2


async def test_a_response_goes_on_from_the_one_before_without_its_instructions(
    world: World, api: httpx.AsyncClient
) -> None:
    world.complete = model = Model([Says(calls=(call("a"),), finish="tool_calls"), Says("blue"), Says("green")])
    first = await made(api, instructions="Sing.")
    second = await made(
        api,
        previous_response_id=first["id"],
        input=[{"type": "function_call_output", "call_id": "call_1", "output": "7"}],
    )
    events = await streamed(api, previous_response_id=second["id"], input="And now?")
    assert model.asked[2]["messages"] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "tool_calls": [call("a")]},
        {"role": "tool", "tool_call_id": "call_1", "content": "7"},
        {"role": "assistant", "content": "blue"},
        {"role": "user", "content": "And now?"},
    ]
    third = events[-1]["response"]
    assert third["previous_response_id"] == second["id"]
    assert (await api.delete(f"{PATH}/{first['id']}")).status_code == 200
    ids = [item["id"] for item in (await api.get(f"{PATH}/{third['id']}/input_items?order=asc")).json()["data"]]
    assert len(ids) == len(set(ids)) == 5


async def test_what_is_kept_is_retrieved_paged_and_deleted(world: World, api: httpx.AsyncClient, key: str) -> None:
    world.complete = Model([Says("red")])
    events = await streamed(api, input=[{"role": "user", "content": f"{n}"} for n in range(5)], metadata={"a": "b"})
    found = events[-1]["response"]
    where = f"{PATH}/{found['id']}"
    assert (await api.get(where)).json() == found
    seen, after = [], ""
    while True:
        page = (await api.get(f"{where}/input_items?limit=2{after}")).json()
        seen += [_items.validate_python(item).content[0].text for item in page["data"]]
        after = f"&after={page['last_id']}"
        if not page["has_more"]:
            break
    assert seen == ["4", "3", "2", "1", "0"]
    assert error(await api.get(f"{where}/input_items?after=x"))["param"] == "after"
    assert "stream" in error(await api.get(f"{where}?stream=true"))["message"]
    assert "background" in error(await api.post(f"{where}/cancel"))["message"]
    async with world.client(await world.key("other", 1)) as other:
        paths = (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items"))
        for method, path in paths:
            error(await other.request(method, where + path), 404)
        asked = {"model": BASE, "input": "Hi", "previous_response_id": found["id"]}
        assert error(await other.post(PATH, json=asked), 404)["code"] == "previous_response_not_found"
    assert (await api.delete(where)).json() == {"id": found["id"], "object": "response", "deleted": True}
    for method, path in (("GET", where), ("DELETE", where), ("GET", f"{where}/input_items")):
        error(await api.request(method, path), 404)
    assert (await api.delete(where, headers={"x-stainless-retry-count": "1"})).status_code == 200
    assert await world.blobs.list(f"local/{found['id']}") == []
    assert world.topics() == ["completion.recorded", "completion.deleted"]


async def test_what_is_not_to_be_stored_is_not(world: World, api: httpx.AsyncClient) -> None:
    world.complete = Model([Says("red")])
    for found in (await made(api, store=False), (await streamed(api, store=False))[-1]["response"]):
        error(await api.get(f"{PATH}/{found['id']}"), 404)
    assert world.topics() == []


def part(kind: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": [{"type": kind, "image_url": "x", "file_id": "x"}]}]}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no input": ({"input": None}, "input"),
    "an empty input": ({"input": []}, "input"),
    "a number as input": ({"input": 7}, "input"),
    "an image": (part("input_image"), "input[0].content[0]"),
    "a file": (part("input_file"), "input[0].content[0]"),
    "audio": (part("input_audio"), "input[0].content[0]"),
    "a foreign item": ({"input": [{"type": "web_search_call", "id": "x"}]}, "input[0]"),
    "a reference": ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
    "an item of no type": ({"input": [{}]}, "input[0].type"),
    "an item that is a list": ({"input": [[]]}, "input[0]"),
    "a type that is a list": ({"input": [{"type": [1]}]}, "input[0]"),
    "a part of a strange type": (part({"a": 1}), "input[0].content[0]"),
    "a strange role": ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
    "a role that is a number": ({"input": [{"role": 1, "content": "x"}]}, "input[0].role"),
    "a message without content": ({"input": [{"role": "user"}]}, "input[0].content"),
    "arguments that are no object": (
        {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "[]"}]},
        "input[0].arguments",
    ),
    "an output of no call": ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input"),
    "a built-in tool": ({"tools": [{"type": "web_search"}]}, "tools[0]"),
    "a tool as chats have it": ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name"),
    "a choice of a built-in tool": ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
    "a conversation": ({"conversation": "conv_1"}, "conversation"),
    "a prompt of a template": ({"prompt": {"id": "x"}}, "prompt"),
    "the background, unstored": ({"background": True, "store": False}, "store"),
    "a cut": ({"truncation": "auto"}, "truncation"),
    "an unknown thing to include": ({"include": ["everything"]}, "include[0]"),
    "a form of text": ({"text": {"format": {"type": "grammar"}}}, "text.format"),
    "a typo": ({"max_output_token": 5}, "max_output_token"),
    "metadata that are none": ({"metadata": {"a": 1}}, "metadata.a"),
    "too much metadata": ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "param"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_makes_no_sense_or_is_not_served_is_refused_by_name(
    world: World, api: httpx.AsyncClient, asked: dict[str, Any], param: str
) -> None:
    world.complete = Model([Says("red")])
    body = {name: value for name, value in {"model": BASE, "input": "Hi", **asked}.items() if value is not None}
    assert error(await api.post(PATH, json=body))["param"] == param


async def test_what_serving_refuses_is_told_in_the_names_of_a_response(world: World, api: httpx.AsyncClient) -> None:
    told = {"message": "Invalid 'max_completion_tokens': too many.", "type": "invalid_request_error"}
    world.complete = Model([(400, {"error": {**told, "param": "max_completion_tokens", "code": "x"}})])
    for stream in (False, True):
        found = error(await api.post(PATH, json={"model": BASE, "input": "Hi", "stream": stream}))
        assert (found["param"], found["code"]) == ("max_output_tokens", "x")
        assert found["message"] == "Invalid 'max_output_tokens': too many."


@pytest.mark.parametrize(
    ("asked", "param", "start"),
    [
        ({"text": {"format": {**FORM, "schema": {"type": "object", "properties": {"response_format": {"not": {}}}}}}},
         "text.format.schema.properties.response_format.not", "Invalid schema for text.format 'answer': "),
        ({"text": {"format": {**FORM, "name": "no name"}}}, "text.format.name", "Invalid 'text.format.name'"),
        ({"text": {"format": {"type": "json_schema", "name": "answer"}}}, "text.format.schema",
         "Missing required parameter: 'text.format.schema'"),
        ({"text": {"format": {"type": "json_object"}}}, "input",
         "'input' must contain the word 'json' in some form, to use 'text.format' of type 'json_object'."),
        ({"tools": [{**TOOL, "parameters": {"type": "object", "additionalProperties": False, "required": ["function"],
                                            "properties": {"function": {"not": {}}}}}]},
         "tools[0].parameters.properties.function.not", "Invalid schema for function 'weather': "),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)  # fmt: skip
async def test_a_refused_schema_is_named_by_its_place_in_the_request_for_a_response(
    world: World, api: httpx.AsyncClient, asked: dict[str, Any], param: str, start: str
) -> None:
    body = {"model": BASE, "input": "Hi", **asked}
    with pytest.raises(ApiError) as refused:
        Chat.read(ResponseRequest.read(body).of_chat([{"role": "user", "content": "Hi"}]))
    world.complete = Model([(400, refused.value.body())])
    found = error(await api.post(PATH, json=body))
    assert found["param"] == param
    assert found["message"].startswith(start)
    assert "json_schema'" not in found["message"]
    assert ".function." not in found["message"].partition("context")[0]


async def test_a_stream_that_breaks_off_ends_as_failed(world: World, api: httpx.AsyncClient) -> None:
    world.complete = Model([Says("red 3")], breaks=True)
    events = await streamed(api)
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "server_error"


async def test_an_answer_that_cannot_be_kept_is_not_told_as_kept(world: World, api: httpx.AsyncClient) -> None:
    world.complete, world.kafka_down = Model([Says("red")]), UnavailableError("kafka")
    error(await api.post(PATH, json={"model": BASE, "input": "Hi"}), 503)
    assert (await streamed(api))[-1]["type"] == "response.failed"
    assert (await streamed(api, store=False))[-1]["type"] == "response.completed"


async def test_a_client_that_leaves_stops_the_work_and_nothing_is_kept(world: World, key: str) -> None:
    world.complete = model = Model([Says("red 3")], waits=asyncio.Event())
    body = {"model": BASE, "input": "Hi", "stream": True}
    for _ in range(2):
        caller = Caller(world, key, PATH, body)
        while b"output_text.delta" not in (await caller.sent.get()).get("body", b""):
            pass
        caller.gone.set()
        await asyncio.wait_for(caller.task, 10)
        body = {**body, "metadata": {"a": "b"}}
    assert model.stopped == 2
    assert world.topics() == []


async def test_fifty_streams_at_once_are_told_each_their_own(world: World, key: str) -> None:
    world.complete = model = Model([Says("red 3")], waits=asyncio.Event())
    callers = [Caller(world, key, PATH, {"model": BASE, "input": f"{n}", "stream": True}) for n in range(50)]
    for each in callers:
        while b"output_text.delta" not in (await each.sent.get()).get("body", b""):
            pass
    assert len(model.asked) == 50
    model.waits.set()
    await asyncio.wait_for(asyncio.gather(*(each.task for each in callers)), 30)
    assert len({event.subject for event in world.emit.events if event.type == "completion.recorded"}) == 50


async def test_what_is_larger_than_is_kept_is_kept_without_log_probabilities(
    world: World, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions._shared.keeping.MOST_BYTES", 100)
    world.complete = Model([Says("red 3")])
    found = await made(api, include=["message.output_text.logprobs"])
    assert found["output"][0]["content"][0]["logprobs"]
    again = (await api.get(f"{PATH}/{found['id']}")).json()
    assert again["output"][0]["content"][0] == {**found["output"][0]["content"][0], "logprobs": []}


async def test_a_conversation_has_a_bound(
    world: World, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.complete = Model([Says("red 3")])
    first = await made(api, input="x" * 1000)
    monkeypatch.setattr(responding, "MOST_CONTEXT", 1500)
    asked = {"model": BASE, "input": "x" * 1000, "previous_response_id": first["id"]}
    assert error(await api.post(PATH, json=asked))["code"] == "context_length_exceeded"
    many = [{"role": "user", "content": ""}] * 5000
    assert error(await api.post(PATH, json={"model": BASE, "input": many}))["param"] == "input"


@pytest.mark.parametrize("name", sorted(RECORDED))
async def test_what_agents_and_harnesses_send_is_served(world: World, api: httpx.AsyncClient, name: str) -> None:
    """Recorded of openai-agents 0.24.0 and inspect-ai 0.3.285, ids and texts made anew."""
    world.complete = model = Model([Says(calls=(call("weather"),), finish="tool_calls"), Says("red 3")])
    first = await made(api)
    asked = {**RECORDED[name], "model": BASE}
    asked |= {"previous_response_id": first["id"]} if "previous_response_id" in asked else {}
    answer = await api.post(PATH, json=asked)
    assert answer.status_code == 200, answer.text
    assert model.asked[-1]["messages"][-1]["role"] in ("user", "tool")
    if not asked.get("stream"):
        strict(answer.json())
