"""Whatever a request says, it is answered as it says or refused with the field's name: never a 500, never nonsense."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from contracts.manifest import ManifestRef
from functions.generate_text.app import create_app
from functions.generate_text.engine import BatchLimits
from functions.generate_text.text import Answer
from infra.adapters.memory import MemoryBlobs
from tests.functional.test_generate_text import USER, served
from tests.unit.generate_text.tiny import CONTEXT, build_base, store

VOCABULARY = 300
NO_END = {str(token): -100 for token in range(8)}
"""The special tokens are never chosen, so that every answer has as many tokens as it may have."""
LIMITS = BatchLimits(rows=8, queue=256, request_tokens=1024)
HUGE = 10**399
GOOD: dict[str, list[Any]] = {
    "temperature": [0, 1e-9, 1, 2],
    "top_p": [0, 1e-9, 0.5, 1],
    "n": [1, 2, 128],
    "max_tokens": [1, 4],
    "seed": [0, -(2**63), 2**63 - 1],
    "stop": [None, [], "zz", ["a", "b", "c", "d"]],
    "presence_penalty": [-2, 0, 2],
    "frequency_penalty": [-2, 0, 2],
    "logit_bias": [{}, {"7": 100}, {"7": -100}, {str(token): -100 for token in range(VOCABULARY)}],
    "logprobs": [False, True],
}
BAD: dict[str, list[Any]] = {
    "temperature": [-1e-9, 2.1, HUGE, -HUGE, "1"],
    "top_p": [-1e-9, 1.1, HUGE],
    "n": [0, -1, 129, HUGE, 1.5],
    "max_tokens": [0, -1, 513, 2**60, HUGE],
    "seed": [2**63, -HUGE, 0.5],
    "stop": ["", [""], ["a"] * 5, 3],
    "presence_penalty": [2.1, HUGE],
    "frequency_penalty": [-2.1, HUGE],
    "logit_bias": [
        {"7": 101},
        {"7": HUGE},
        {"9" * 5000: 1},
        {"300": 1},
        {"-1": 1},
        {"²": 1},
        {str(i): 1 for i in range(1025)},
    ],
    "logprobs": [1, "yes"],
}


class Server(NamedTuple):
    http: httpx.Client
    ref: ManifestRef

    def post(self, path: str, body: bytes, tenant: str = "") -> httpx.Response:
        headers = {"x-temper-manifest": f"{self.ref.key}#{self.ref.sha256}", "x-temper-tenant": tenant}
        return self.http.post(path, content=body, headers=headers, timeout=60)

    def chat(self, body: dict[str, Any] | bytes, tenant: str = "") -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps({"model": "m", "messages": USER, **body}).encode()
        return self.post("/v1/chat/completions", content, tenant)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("edges")
    blobs = MemoryBlobs()
    ref = asyncio.run(store(blobs, "local/base", build_base(root / "base")))
    with (
        served(create_app(blobs, root / "cache", "cpu", threads=1, limits=LIMITS)) as url,
        httpx.Client(base_url=url) as http,
    ):
        yield Server(http, ref)


def told(reply: httpx.Response) -> list[str]:
    assert reply.status_code == 200, reply.text[:500]
    return [choice["message"]["content"] for choice in reply.json()["choices"]]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in GOOD.items()}),
)
def test_what_openai_allows_is_answered(server: Server, body: dict[str, Any]) -> None:
    body = {"max_tokens": 4, **body}
    reply = server.chat(body)
    answers = told(reply)
    assert len(answers) == body.get("n", 1)
    assert reply.json()["usage"]["completion_tokens"] <= body["max_tokens"] * len(answers)
    if body.get("temperature") in (0, 1e-9) or body.get("top_p") in (0, 1e-9):
        greedy = {**body, "temperature": 0, "top_p": 1, "n": 1}
        assert set(answers) == set(told(server.chat(greedy)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in GOOD.items()}),
    st.sampled_from([(name, value) for name, values in BAD.items() for value in values]),
)
def test_what_is_out_of_bounds_is_refused_by_name(server: Server, body: dict[str, Any], wrong: tuple[str, Any]) -> None:
    name, value = wrong
    assume(body.get("n") != 128)
    reply = server.chat({"max_tokens": 4, **body, name: value})
    assert reply.status_code == 400, reply.text[:500]
    error = reply.json()["error"]
    beyond = name == "max_tokens" and value == 513
    assert (error["param"], error["code"] == "context_length_exceeded") == ("messages" if beyond else name, beyond)
    assert len(error["message"]) < 400


def test_two_caps_a_seed_and_several_choices_are_kept_whole_and_streamed(server: Server) -> None:
    body = {"n": 3, "seed": 7, "max_tokens": 9, "max_completion_tokens": 5, "top_p": 0.9, "logit_bias": NO_END}
    whole = server.chat(body).json()["choices"]
    assert [(choice["index"], choice["finish_reason"]) for choice in whole] == [(n, "length") for n in range(3)]
    told = dict.fromkeys(range(3), "")
    ends: dict[int, str] = {}
    for line in server.chat({**body, "stream": True}).text.splitlines():
        if line.startswith("data: {"):
            (choice,) = json.loads(line.removeprefix("data: "))["choices"]
            told[choice["index"]] += choice["delta"].get("content") or ""
            ends |= {choice["index"]: choice["finish_reason"]} if choice["finish_reason"] else {}
    assert [told[n] for n in range(3)] == [choice["message"]["content"] for choice in whole]
    assert ends == dict.fromkeys(range(3), "length")


@pytest.mark.parametrize("top", [0, 20])
def test_alternatives_may_be_none_or_twenty(server: Server, top: int) -> None:
    reply = server.chat({"max_tokens": 2, "logprobs": True, "top_logprobs": top, "temperature": 0})
    told(reply)
    assert {len(token["top_logprobs"]) for token in reply.json()["choices"][0]["logprobs"]["content"]} == {top}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", {"messages": USER, "n": 128}, "n"),  # of up to the rest of the context each
        ("/v1/chat/completions", {"messages": USER, "n": 128, "max_tokens": 8}, "n"),
        ("/v1/completions", {"prompt": ["a"] * 257, "max_tokens": 1}, "prompt"),
        ("/v1/completions", {"prompt": ["a"] * 3, "n": 128, "max_tokens": 1}, "n"),
        ("/v1/completions", {"prompt": ["a"] * 256, "max_tokens": 4}, "prompt"),
    ],
)
def test_one_request_may_not_ask_for_more_than_its_share(
    server: Server, path: str, body: dict[str, Any], param: str
) -> None:
    reply = server.post(path, json.dumps({"model": "m", **body}).encode())
    assert reply.status_code == 400, reply.text[:500]
    error = reply.json()["error"]
    assert (error["param"], error["code"]) == (param, "request_too_large")
    assert "256 choices and 1024 tokens" in error["message"]


def test_a_choice_may_fill_its_context_and_a_request_its_share(server: Server) -> None:
    assert server.chat({"max_tokens": CONTEXT - 40}).status_code == 200
    body = {"model": "m", "prompt": [[7]] * 2, "n": 128, "max_tokens": 3}
    assert len(server.post("/v1/completions", json.dumps(body).encode()).json()["choices"]) == 256


def test_a_tenant_with_a_full_queue_is_told_so_and_another_is_served(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    ref = asyncio.run(store(blobs, "local/base", build_base(tmp_path / "base")))
    app = create_app(blobs, tmp_path / "cache", "cpu", threads=1, limits=BatchLimits(rows=1, queue=2))
    ask = {"model": "m", "messages": USER, "max_tokens": 400, "logit_bias": {"1": -100}}
    with served(app) as url, httpx.Client(base_url=url) as http, ThreadPoolExecutor(3) as pool:
        server = Server(http, ref)
        flood = [pool.submit(server.chat, {**ask, "n": 1}, "a")]
        while not app.state.engine.state()["running"]:
            assert not flood[0].done()
        flood.append(pool.submit(server.chat, {**ask, "n": 2}, "a"))
        while app.state.engine.state()["queue"] < 2:
            assert not flood[1].done()
        refused = server.chat(ask, "a")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"]
        assert server.chat({**ask, "max_tokens": 2}, "b").status_code == 200
        assert not flood[1].done() or not flood[0].done()
        assert [each.result().status_code for each in flood] == [200, 200]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_stream_that_cannot_go_on_says_so(server: Server, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    def broken(*_: object) -> str:
        raise ValueError("/a/path")

    monkeypatch.setattr(Answer, "add", broken)
    asked = {"model": "m", "messages": USER, "prompt": "a", "max_tokens": 4, "stream": True}
    reply = server.post(path, json.dumps(asked).encode())
    error = json.loads(reply.text.strip().split("data: ")[-1])["error"]
    assert error == {
        "message": "generating failed for a reason of the server's own.",
        "type": "server_error",
        "param": None,
        "code": "generation_failed",
    }


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


@pytest.mark.parametrize("levels", [65, 600, 800, 980, 5000])
@pytest.mark.parametrize("where", ["tools", "messages", "logit_bias", "stop", "response_format", "arguments", "role"])
def test_deep_nesting_is_refused(server: Server, where: str, levels: int) -> None:
    deep = nested(levels)
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": deep}}
    calling = json.dumps({"role": "assistant", "tool_calls": [call]})
    body = {
        "tools": f'{{"model":"m","messages":{json.dumps(USER)},"tools":[{deep}]}}',
        "messages": f'{{"model":"m","messages":[{{"role":"user","content":{deep}}}]}}',
        "role": f'{{"model":"m","messages":[{{"role":{deep},"content":"x"}}]}}',
        "arguments": f'{{"model":"m","messages":[{calling}]}}',
    }.get(where, f'{{"model":"m","messages":{json.dumps(USER)},"max_tokens":1,"{where}":{deep}}}')
    reply = server.chat(body.encode())
    assert reply.status_code == 400, reply.text[:500]
    error = reply.json()["error"]
    assert error["code"] == "invalid_json" or error["param"].startswith(
        "messages" if where in ("arguments", "role") else where
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"\\ud800","messages":[{"role":"user","content":"x"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"a":"\\uDfff"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":NaN}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"seed":' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_json_is_refused(server: Server, body: bytes) -> None:
    reply = server.chat(body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_json")


def test_a_template_that_fails_does_not_speak_in_its_engines_words(server: Server) -> None:
    said = [{"role": "user", "content": "x"}]
    reply = server.chat({"messages": said, "chat_template_kwargs": {"messages": 1}})  # it looks for roles in a number
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "messages")
    assert reply.json()["error"]["message"] == (
        "The model's chat template refuses these messages: it cannot show such a chat; look at its roles, their order, "
        "and at tool calls."
    )


def test_tools_calls_and_answers_are_shown_to_a_model_whose_template_has_no_place_for_them(server: Server) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    said = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "zqtwo"},
    ]
    plain = server.chat({"messages": said[:1]})
    shown = server.chat({"messages": said, "tools": tools})
    assert (plain.status_code, shown.status_code) == (200, 200), shown.text
    assert shown.json()["usage"]["prompt_tokens"] > plain.json()["usage"]["prompt_tokens"] + 40
