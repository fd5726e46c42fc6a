"""The serving process through the official client on a real socket: shapes, streams, seeds, stops, usage, errors."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import openai
import pytest
import torch
import uvicorn
from openai import AsyncOpenAI
from transformers import AutoTokenizer

from contracts.manifest import ManifestRef
from functions.generate_text.app import create_app
from infra.adapters.memory import MemoryBlobs
from tests.unit.generate_text.tiny import CONTEXT, build_adapter, build_base, plain, store

USER: list[Any] = [{"role": "user", "content": "what is the weight of the blue kettle?"}]


class Server(NamedTuple):
    url: str
    engine: Any
    blobs: MemoryBlobs
    refs: dict[str, ManifestRef]
    folders: dict[str, Path]
    opened: list[AsyncOpenAI]

    def client(self, model: str) -> AsyncOpenAI:
        """The official client, strict, with the weights named as the edge names them."""
        ref = self.refs[model]
        headers = {"x-temper-manifest": f"{ref.key}#{ref.sha256}"}
        client = AsyncOpenAI(
            base_url=f"{self.url}/v1",
            api_key="none",
            max_retries=0,
            default_headers=headers,
            _strict_response_validation=True,
        )
        self.opened.append(client)
        return client


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """Run an app on a free loopback port in a thread."""
    config = uvicorn.Config(app, port=0, log_level="warning", access_log=False, ws="none")
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([socket])), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        socket.close()


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("serving")
    base = build_base(root / "base")
    folders = {"base": base, "a": build_adapter(root / "a", base, 1), "b": build_adapter(root / "b", base, 2, r=8)}
    blobs = MemoryBlobs()
    refs = {"base": asyncio.run(store(blobs, "local/base", base))}
    for name in ("a", "b"):
        refs[name] = asyncio.run(store(blobs, f"local/{name}", folders[name], refs["base"], "adapter"))
    app = create_app(blobs, root / "cache", "cpu", threads=1)
    with served(app) as url:
        yield Server(url, app.state.engine, blobs, refs, folders, [])


@pytest.fixture
async def server(process: Server) -> AsyncIterator[Server]:
    opened: list[AsyncOpenAI] = []
    yield process._replace(opened=opened)
    for client in opened:
        await client.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def say(client: AsyncOpenAI, **options: Any) -> Any:
    return await client.chat.completions.create(
        model="m", messages=options.pop("messages", USER), **{"temperature": 0, "max_tokens": 24, **options}
    )


def prompt_ids(server: Server, messages: list[Any]) -> list[int]:
    tokenizer = AutoTokenizer.from_pretrained(server.folders["base"])
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


@pytest.mark.parametrize("model", ["base", "a", "b"])
async def test_a_chat_answers_what_transformers_generates(server: Server, model: str) -> None:
    reply = await say(server.client(model))
    ids = prompt_ids(server, USER)
    reference = plain(server.folders["base"], server.folders[model] if model != "base" else None)
    with torch.inference_mode():
        made = reference.generate(input_ids=torch.tensor([ids]), max_new_tokens=24, do_sample=False)[0, len(ids) :]
    tokenizer = AutoTokenizer.from_pretrained(server.folders["base"])
    expected = tokenizer.decode(made, skip_special_tokens=True)
    assert reply.choices[0].message.content == expected.rstrip("\ufffd")
    ended = made[-1] == 1
    assert reply.choices[0].finish_reason == ("stop" if ended else "length")
    assert reply.usage.prompt_tokens == len(ids)
    assert reply.usage.completion_tokens == len(made) - int(ended)
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert reply.model == "m"
    assert reply.system_fingerprint.startswith("fp_")


async def test_fifty_concurrent_greedy_chats_equal_the_sequential_ones(server: Server) -> None:
    clients = [server.client(name) for name in ("base", "a", "b")]
    chats = [[{"role": "user", "content": f"what is the weight of kettle {i}?"}] for i in range(50)]
    alone = [(await say(clients[i % 3], messages=chat)).choices[0] for i, chat in enumerate(chats)]
    mixed = server.engine.state()["mixed_steps"]
    replies = await asyncio.gather(*(say(clients[i % 3], messages=chat) for i, chat in enumerate(chats)))
    assert [reply.choices[0] for reply in replies] == alone
    assert len({choice.message.content for choice in alone}) > 25
    assert server.engine.state()["mixed_steps"] > mixed, "no batch mixed adapters"
    assert server.engine.state()["largest_batch"] > 1


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 1, "seed": 4}, {"stop": ["e"]}, {"n": 3, "temperature": 1, "seed": 2}]
)
async def test_a_stream_tells_the_same_as_a_whole_answer(server: Server, options: dict[str, Any]) -> None:
    client = server.client("a")
    whole = await say(client, logprobs=True, top_logprobs=2, **options)
    texts, finishes, tokens = [""] * 3, [""] * 3, [[], [], []]  # type: ignore[var-annotated]
    usage = None
    stream = await say(
        client, logprobs=True, top_logprobs=2, stream=True, stream_options={"include_usage": True}, **options
    )
    async for chunk in stream:
        assert chunk.object == "chat.completion.chunk"
        if not chunk.choices:
            usage = chunk.usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            tokens[choice.index] += choice.logprobs.content if choice.logprobs else []
            finishes[choice.index] = choice.finish_reason or ""
    for choice in whole.choices:
        assert texts[choice.index] == choice.message.content
        assert finishes[choice.index] == choice.finish_reason
        assert [t.token for t in tokens[choice.index]] == [t.token for t in choice.logprobs.content]
    assert usage == whole.usage


async def test_a_seed_repeats_in_any_company_and_choices_differ(server: Server) -> None:
    client = server.client("a")
    hot = {"temperature": 1.3, "seed": 11, "n": 4, "top_p": 0.95}
    first = await say(client, **hot)
    others = [say(server.client("b"), temperature=1, max_tokens=40) for _ in range(12)]
    again, *_ = await asyncio.gather(say(client, **hot), *others)
    contents = [choice.message.content for choice in first.choices]
    assert [choice.message.content for choice in again.choices] == contents
    assert len(set(contents)) == 4
    assert [choice.index for choice in first.choices] == [0, 1, 2, 3]


async def test_stop_strings_across_tokens_are_cut_and_never_told(server: Server) -> None:
    client = server.client("a")
    free = await say(client, logprobs=True, max_tokens=60)
    text = free.choices[0].message.content
    pieces = [token.token for token in free.choices[0].logprobs.content]
    # A stop sequence that begins inside one token and ends inside another one.
    candidates = [(at, text[at : at + 3]) for at in range(4, len(text) - 3)]
    at, stop = next(
        (at, stop)
        for at, stop in candidates
        if "\ufffd" not in stop and text.find(stop) == at and not any(stop in piece for piece in pieces)
    )
    cut = await say(client, stop=[stop, "never said"], max_tokens=60, logprobs=True)
    assert cut.choices[0].message.content == text[:at]
    assert cut.choices[0].finish_reason == "stop"
    assert cut.usage.completion_tokens == len(cut.choices[0].logprobs.content) < len(pieces)
    streamed = [
        chunk.choices[0].delta.content or "" async for chunk in await say(client, stop=stop, max_tokens=60, stream=True)
    ]
    assert "".join(streamed) == text[:at]


async def test_chat_logprobs_equal_a_plain_forward(server: Server) -> None:
    reply = await say(server.client("b"), logprobs=True, top_logprobs=3)
    ids = prompt_ids(server, USER)
    reference = plain(server.folders["base"], server.folders["b"])
    for told in reply.choices[0].logprobs.content:
        with torch.inference_mode():
            line = torch.log_softmax(reference(input_ids=torch.tensor([ids])).logits[0, -1], dim=-1)
        values, top = line.topk(3)
        assert [t.logprob for t in told.top_logprobs] == pytest.approx(values.tolist(), abs=1e-4)
        assert told.logprob == pytest.approx(float(values[0]), abs=1e-4)
        ids.append(int(top[0]))
    said = b"".join(bytes(token.bytes) for token in reply.choices[0].logprobs.content)
    assert said.decode(errors="replace").rstrip("\ufffd") == reply.choices[0].message.content


async def test_text_completions_echo_with_logprobs_as_evaluations_read_them(server: Server) -> None:
    tokenizer = AutoTokenizer.from_pretrained(server.folders["base"])
    prompts = [tokenizer(text)["input_ids"] for text in ("the quick brown", "over the lazy dog")]
    ref = server.refs["a"]
    async with httpx.AsyncClient(base_url=server.url) as http:
        body = {"model": "m", "prompt": prompts, "max_tokens": 1, "temperature": 0, "logprobs": 1, "echo": True}
        reply = await http.post("/v1/completions", json=body, headers={"x-temper-manifest": f"{ref.key}#{ref.sha256}"})
    assert reply.status_code == 200
    reference = plain(server.folders["base"], server.folders["a"])
    for ids, choice in zip(prompts, reply.json()["choices"], strict=True):
        with torch.inference_mode():
            table = torch.log_softmax(reference(input_ids=torch.tensor([ids])).logits[0], dim=-1)
        told = choice["logprobs"]
        assert told["token_logprobs"][0] is None
        assert told["top_logprobs"][0] is None
        expected = [float(table[i, ids[i + 1]]) for i in range(len(ids) - 1)]
        assert told["token_logprobs"][1 : len(ids)] == pytest.approx(expected, abs=1e-4)
        assert len(told["tokens"]) == len(ids) + 1 == len(told["text_offset"])
        assert choice["text"].startswith(tokenizer.decode(ids))
        for token, value, top in zip(
            told["tokens"][1:], told["token_logprobs"][1:], told["top_logprobs"][1:], strict=True
        ):
            assert top[token] == value
            assert max(top.values()) >= value
    assert reply.json()["usage"]["prompt_tokens"] == sum(map(len, prompts))


async def test_text_completions_take_every_prompt_shape(server: Server) -> None:
    client = server.client("base")
    one = await client.completions.create(model="m", prompt="the quick", max_tokens=8, temperature=0)
    many = await client.completions.create(model="m", prompt=["the quick", "a dog"], max_tokens=8, temperature=0, n=2)
    assert one.object == "text_completion"
    assert [choice.index for choice in many.choices] == [0, 1, 2, 3]
    assert many.choices[0].text == many.choices[1].text == one.choices[0].text
    assert many.usage is not None
    assert one.usage is not None
    assert one.usage.completion_tokens == 8
    echoed = await client.completions.create(model="m", prompt="the quick", max_tokens=0, echo=True)
    assert echoed.choices[0].text == "the quick"
    assert echoed.choices[0].finish_reason == "length"
    empty = await client.completions.create(model="m", prompt="", max_tokens=3)
    assert empty.usage is not None
    assert empty.usage.prompt_tokens == 1


async def test_a_completion_stream_tells_the_same_as_a_whole_one(server: Server) -> None:
    ref = server.refs["a"]
    headers = {"x-temper-manifest": f"{ref.key}#{ref.sha256}"}
    body = {"model": "m", "prompt": "the quick", "max_tokens": 12, "temperature": 0, "logprobs": 2, "echo": True}
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as http:
        whole = (await http.post("/v1/completions", json=body)).json()
        text = (await http.post("/v1/completions", json={**body, "stream": True})).text
    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event)["choices"][0] for event in events[:-1]]
    assert "".join(chunk["text"] for chunk in chunks) == whole["choices"][0]["text"]
    for name in ("tokens", "text_offset", "token_logprobs"):
        streamed = [item for chunk in chunks if chunk["logprobs"] for item in chunk["logprobs"][name]]
        if name == "token_logprobs":
            assert streamed[1:] == pytest.approx(whole["choices"][0]["logprobs"][name][1:], abs=1e-4)
        else:
            assert streamed == whole["choices"][0]["logprobs"][name]


async def test_the_first_chunk_leaves_before_the_last_token_and_a_closed_client_stops_the_work(server: Server) -> None:
    before = server.engine.state()
    stream = await say(server.client("a"), max_tokens=400, stream=True, logit_bias={"1": -100})
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    assert server.engine.state()["running"] == 1, "the answer was complete before its first chunk was read"
    await stream.close()
    await until(lambda: server.engine.state()["running"] == 0)
    assert server.engine.state()["cancelled"] == before["cancelled"] + 1
    assert server.engine.state()["tokens"] < before["tokens"] + 400


async def test_a_client_that_does_not_wait_for_a_whole_answer_stops_the_work(server: Server) -> None:
    before = server.engine.state()
    asking = asyncio.create_task(say(server.client("a"), max_tokens=400, logit_bias={"1": -100}))
    await until(lambda: server.engine.state()["running"] == 1)
    asking.cancel()
    await until(lambda: server.engine.state()["running"] == 0)
    assert server.engine.state()["tokens"] < before["tokens"] + 400


async def test_streams_never_hold_half_characters(server: Server) -> None:
    # Random weights say random bytes; only bytes that are no text at all may come out as U+FFFD.
    client = server.client("b")
    tokenizer = AutoTokenizer.from_pretrained(server.folders["base"])
    halves = [tokenizer.convert_tokens_to_ids(t) for t in tokenizer.tokenize("🙂")]
    assert len(halves) > 1
    bias = {str(token): 100.0 for token in halves}
    stream = await say(client, stream=True, temperature=1, seed=3, max_tokens=100, logit_bias=bias)
    parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
    whole = await say(client, temperature=1, seed=3, max_tokens=100, logit_bias=bias)
    assert "".join(parts) == whole.choices[0].message.content
    assert not parts[-1].endswith("\ufffd")


@pytest.mark.parametrize(
    ("options", "param", "code"),
    [
        ({"max_tokens": CONTEXT}, "messages", "context_length_exceeded"),
        ({"messages": [{"role": "user", "content": "x y " * CONTEXT}]}, "messages", "context_length_exceeded"),
        ({"temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"response_format": {"type": "json_object"}}, "messages", None),
        ({"logit_bias": {"300": 1}}, "logit_bias", "invalid_value"),
    ],
)
async def test_bad_requests_get_openais_errors(server: Server, options: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await say(server.client("base"), **options)
    assert (caught.value.param, caught.value.code, caught.value.type) == (param, code, "invalid_request_error")


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "status"),
    [
        ("POST", "/v1/chat/completions", b"{", {}, 400),
        ("POST", "/v1/chat/completions", b"\xff", {}, 400),
        ("POST", "/v1/chat/completions", b"[]", {}, 400),
        ("POST", "/v1/chat/completions", b'{"model":"m","messages":[{"role":"user","content":"x"}]}', {}, 400),
        ("POST", "/v1/chat/completions", b" " * (9 * 2**20), {}, 413),
        ("GET", "/v1/chat/completions", b"", {}, 405),
        ("GET", "/nowhere", b"", {}, 404),
    ],
)
async def test_every_error_is_json_with_four_keys(
    server: Server, method: str, path: str, content: bytes, headers: dict[str, str], status: int
) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        reply = await http.request(method, path, content=content, headers=headers)
    assert reply.status_code == status
    assert reply.json()["error"].keys() == {"message", "type", "param", "code"}


async def test_unknown_weights_are_a_404(server: Server) -> None:
    headers = {"x-temper-manifest": f"local/none/manifest.json#{'0' * 64}"}
    with pytest.raises(openai.NotFoundError) as caught:
        await say(server.client("base").with_options(default_headers=headers))
    assert caught.value.code == "model_not_found"


async def test_tools_reach_the_template(server: Server) -> None:
    tools = [{"type": "function", "function": {"name": "weigh", "parameters": {"type": "object", "properties": {}}}}]
    with_tools = await say(server.client("base"), tools=tools)
    without = await say(server.client("base"))
    refused = await say(server.client("base"), tools=tools, tool_choice="none")
    assert with_tools.usage.prompt_tokens > without.usage.prompt_tokens == refused.usage.prompt_tokens


async def test_health_tells_batch_sizes(server: Server) -> None:
    await say(server.client("base"))
    async with httpx.AsyncClient(base_url=server.url) as http:
        state = (await http.get("/healthz")).json()
    assert state["status"] == "ok"
    assert state["steps"] >= 1
    assert sum(state["batch_sizes"].values()) == state["steps"]
