"""P1: chats that are asked with `store` are kept, found again by what they are labelled with, and erased."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionDeleted

from contracts.ports import UnavailableError
from infra.cli import chats
from infra.local.errors import UserError
from tests.functional.edge import BASE, World
from tests.functional.responding import HEAD, USAGE, Model, Says, call
from tests.functional.test_edge_files import error

PATH = "/v1/chat/completions"
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


class Counting(Model):
    """Gives each answer an id of its own, as serving does."""

    async def __call__(self, *asked: Any) -> Any:
        HEAD["id"] = f"chatcmpl-{len(self.asked):024x}"
        return await super().__call__(*asked)


async def kept(api: httpx.AsyncClient, text: str = "Hi", **asked: Any) -> str:
    """Ask, and return the id of what is kept."""
    body = {"model": BASE, "messages": [{"role": "user", "content": text}], "store": True, **asked}
    answer = await api.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    if not asked.get("stream"):
        id: str = answer.json()["id"]
        return id
    found: str = json.loads(answer.text.split("\n\n")[0].removeprefix("data: "))["id"]
    return found


CALLS = (call("a", '{"x": 1}'), call("b", "{}", "c2"))
ANSWERS = {"text": Says("red 3"), "calls": Says("so", thought="well then", calls=CALLS, finish="tool_calls")}


@pytest.mark.parametrize("says", ANSWERS.values(), ids=ANSWERS.keys())
async def test_a_chat_is_kept_as_it_was_answered_whole_or_streamed(
    world: World, api: httpx.AsyncClient, says: Says
) -> None:
    world.complete = Counting([says])
    asked = {"tools": TOOLS, "temperature": 0.5, "metadata": {"a": "b"}, "logprobs": True}
    whole = (await api.get(f"{PATH}/{await kept(api, **asked)}")).json()
    ChatCompletion.model_validate(whole, strict=True)
    assert whole["choices"][0]["message"] == says.message()
    assert (whole["tools"], whole["temperature"], whole["top_p"]) == (TOOLS, 0.5, 1.0)
    assert (whole["metadata"], whole["usage"], whole["model"]) == ({"a": "b"}, USAGE, BASE)
    more = {"stream": True, "stream_options": {"include_usage": True}}
    streamed = (await api.get(f"{PATH}/{await kept(api, **asked, **more)}")).json()
    same = ("choices", "usage", "tools", "metadata", "object")
    texts = [each["choices"][0]["logprobs"]["content"] for each in (whole, streamed)]
    assert ["".join(piece["token"] for piece in text) for text in texts] == [says.content, says.content]
    for each in (whole, streamed):
        each["choices"][0]["logprobs"] = None
    assert {name: streamed[name] for name in same} == {name: whole[name] for name in same}


async def test_the_bytes_that_a_client_gets_are_the_same_with_store(world: World, api: httpx.AsyncClient) -> None:
    world.complete = Model([Says("red 3")])
    for more in ({}, {"stream": True}):
        body = {"model": BASE, "messages": [{"role": "user", "content": "Hi"}], **more}
        plain, stored = await api.post(PATH, json=body), await api.post(PATH, json={**body, "store": True})
        assert plain.content == stored.content
        assert plain.headers["content-type"] == stored.headers["content-type"]


async def test_what_is_kept_is_listed_by_model_metadata_and_age(world: World, api: httpx.AsyncClient) -> None:
    world.complete = Counting([Says("red")])
    await world.base("other-base")
    ids = [await kept(api, f"{n}", metadata={"task": "odd" if n % 2 else "even"}) for n in range(5)]
    other = await kept(api, model="other-base")

    async def listed(query: str) -> list[str]:
        found, after = [], ""
        while True:
            page = (await api.get(f"{PATH}?{query}{after}")).json()
            found += [each["id"] for each in page["data"]]
            if not page["has_more"]:
                return found
            after = f"&after={page['last_id']}"

    assert await listed("limit=2") == [*ids, other]
    assert await listed("limit=2&order=desc") == [other, *reversed(ids)]
    assert await listed(f"model={BASE}&limit=4") == ids
    assert await listed("metadata[task]=odd&limit=1") == ids[1::2]
    assert await listed("metadata[task]=neither") == []
    assert await listed("since=99999999999") == []
    assert error(await api.get(f"{PATH}?after=x"))["param"] == "after"
    assert error(await api.get(f"{PATH}?limit=0"))["param"] == "limit"


async def test_a_page_has_a_bound_in_bytes(
    world: World, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.complete = Counting([Says("red")])
    ids = [await kept(api) for _ in range(3)]
    monkeypatch.setattr("functions.edge.routes.stored_chats.MOST_SHOWN", 10)
    page = (await api.get(PATH)).json()
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (ids[:1], True)


async def test_a_stored_chat_is_labelled_and_erased(world: World, api: httpx.AsyncClient) -> None:
    world.complete = Counting([Says("red")])
    id = await kept(api, metadata={"a": "b"})
    where = f"{PATH}/{id}"
    assert (await api.post(where, json={"metadata": {"c": "d"}})).json()["metadata"] == {"c": "d"}
    assert (await api.get(where)).json()["metadata"] == {"c": "d"}
    assert error(await api.post(where, json={"metadata": {"c": 1}}))["param"] == "metadata.c"
    page = (await api.get(f"{PATH}?metadata[c]=d")).json()
    assert [each["id"] for each in page["data"]] == [id]
    async with world.client(await world.key("other", 1)) as other:
        assert (await other.get(PATH)).json()["data"] == []
        for method, path in (("GET", where), ("POST", where), ("DELETE", where), ("GET", f"{where}/messages")):
            error(await other.request(method, path, json={"metadata": {}} if method == "POST" else None), 404)
        error(await other.get(f"{PATH}?after={id}"))
    ChatCompletionDeleted.model_validate((await api.delete(where)).json(), strict=True)
    error(await api.get(where), 404)
    error(await api.get(f"/v1/responses/{id}"), 404)
    assert (await api.get(PATH)).json()["data"] == []
    assert await world.blobs.list(f"local/{id}") == []


async def test_the_messages_of_a_stored_chat_are_paged(world: World, api: httpx.AsyncClient) -> None:
    world.complete = Counting([Says("red")])
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "How "}, {"type": "text", "text": "warm?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call("weather")]},
        {"role": "tool", "tool_call_id": "call_1", "content": "3"},
    ]
    id = await kept(api, messages=messages)
    first = (await api.get(f"{PATH}/{id}/messages?limit=3")).json()
    assert [each["content"] for each in first["data"]] == ["Be brief.", "How warm?", None]
    assert first["data"][1]["content_parts"] == messages[1]["content"]
    assert first["data"][2]["tool_calls"] == [call("weather")]
    rest = (await api.get(f"{PATH}/{id}/messages?after={first['last_id']}")).json()
    assert ([each["role"] for each in rest["data"]], rest["has_more"]) == (["tool"], False)


async def test_a_chat_without_store_is_not_kept_and_its_metadata_are_nobodys_business(
    world: World, api: httpx.AsyncClient
) -> None:
    world.complete = Counting([Says("red")])
    await kept(api, store=False, metadata={"nested": {"as": ["other", "servers"]}})
    asked = {"model": BASE, "messages": [], "store": True, "metadata": {"nested": {}}}
    assert error(await api.post(PATH, json=asked))["param"] == "metadata.nested"
    assert world.topics() == []


async def test_a_refused_or_broken_chat_is_not_kept(world: World, api: httpx.AsyncClient) -> None:
    told = {"error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": None}}
    world.complete = Model([(400, told), Says("red 3")], breaks=True)
    asked = {"model": BASE, "messages": [{"role": "user", "content": "Hi"}], "store": True}
    assert (await api.post(PATH, json=asked)).json() == told
    assert "service_unavailable" in (await api.post(PATH, json={**asked, "stream": True})).text
    world.complete, world.kafka_down = Model([Says("red")]), UnavailableError("kafka")
    error(await api.post(PATH, json=asked), 503)
    assert "[DONE]" not in (await api.post(PATH, json={**asked, "stream": True})).text
    assert world.topics() == []


async def test_stored_chats_become_rows_to_train_on(
    world: World, api: httpx.AsyncClient, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    calls = (call("weather", '{"at": "Bonn"}'),)
    said = [Says("It is 3.", thought="well"), Says("", calls=calls, finish="tool_calls"), Says("cut", finish="length")]
    world.complete = Counting([*said, Says("other")])
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
    ]
    for number in range(4):
        await kept(api, messages=messages, tools=TOOLS, metadata={"task": "t" if number < 3 else "u"})
    loop = asyncio.get_running_loop()

    def edge(**more: Any) -> httpx.Client:
        def handle(request: httpx.Request) -> httpx.Response:
            asked = api.get(f"/v1{request.url.raw_path.decode()}", params=request.url.params)
            answer = asyncio.run_coroutine_threadsafe(asked, loop).result(30)
            return httpx.Response(answer.status_code, content=answer.content)

        return client(transport=httpx.MockTransport(handle), base_url="http://edge")

    client = httpx.Client
    monkeypatch.setattr(chats, "edge_of_home", lambda: ("http://edge", key))
    monkeypatch.setattr(chats.httpx, "Client", edge)
    monkeypatch.setattr(chats, "PAGE", 1)
    out = tmp_path / "rows.jsonl"
    run = chats.from_chats.callback
    assert run is not None
    await asyncio.to_thread(run, out, BASE, ("task=t",), datetime.fromisoformat("2026-01-01"))
    assert "2 rows of 3 stored chats, 1 answers left out" in capsys.readouterr().out
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    before = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    thought = {"role": "assistant", "content": "It is 3.", "reasoning_content": "well"}
    assert rows == [
        {"messages": [*before, thought], "tools": TOOLS},
        {"messages": [*before, {"role": "assistant", "tool_calls": list(calls)}], "tools": TOOLS},
    ]
    with pytest.raises(UserError, match="is not KEY=VALUE"):
        run(out, None, ("x",), None)
    assert sorted(tmp_path.iterdir()) == [out]
