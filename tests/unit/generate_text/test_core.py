"""Requests are checked like OpenAI does: the parameter, a code and a sentence."""

from typing import Any

import pytest

from contracts.wire.completions import Chat, Completion
from contracts.wire.errors import ApiError
from functions.generate_text.core import max_new_tokens

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_a_plain_chat_gets_openais_defaults() -> None:
    request = Chat.read(CHAT)
    assert (request.temperature, request.n, request.room) == (1.0, 1, None)
    assert request.chat() == CHAT["messages"]


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
            "unsupported",
        ),
        ({"temperature": 2.1}, "temperature", "decimal_above_max_value"),
        ({"temperature": -1}, "temperature", "decimal_below_min_value"),
        ({"temperature": "1"}, "temperature", "invalid_type"),
        ({"temperature": True}, "temperature", "invalid_type"),
        ({"temperature": float("nan")}, "temperature", "invalid_type"),
        ({"top_p": 1.5}, "top_p", "decimal_above_max_value"),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": 129}, "n", "integer_above_max_value"),
        ({"n": 1.0}, "n", "invalid_type"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_completion_tokens": -1}, "max_completion_tokens", "integer_below_min_value"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "array_above_max_length"),
        ({"stop": ""}, "stop", "invalid_value"),
        ({"stop": 3}, "stop", "invalid_type"),
        ({"presence_penalty": 2.5}, "presence_penalty", "decimal_above_max_value"),
        ({"frequency_penalty": -2.5}, "frequency_penalty", "decimal_below_min_value"),
        ({"logit_bias": {"cat": 1}}, "logit_bias", "invalid_value"),
        ({"logit_bias": {"5": 101}}, "logit_bias", "decimal_above_max_value"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
        ({"seed": "x"}, "seed", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"response_format": {"type": "json_object"}}, "messages", None),
        ({"response_format": "json"}, "response_format", "invalid_type"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
        ({"guided_json": {}}, "guided_json", "unknown_parameter"),
        ({"function_call": "auto"}, "function_call", "invalid_value"),
        ({"tools": {}}, "tools", "invalid_type"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice", "invalid_value"),
        ({"tool_choice": {"type": "custom", "custom": {"name": "f"}}}, "tool_choice", "unsupported"),
    ],
)
def test_a_wrong_parameter_is_named(change: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        Chat.read({**CHAT, **change})
    assert (caught.value.param, caught.value.code, caught.value.status) == (param, code, 400)
    assert caught.value.body()["error"].keys() == {"message", "type", "param", "code"}


def test_range_errors_use_openais_words() -> None:
    with pytest.raises(ApiError) as caught:
        Chat.read({**CHAT, "temperature": 3})
    assert str(caught.value) == (
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead."
    )


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a", ("a",)),
        (["a", "b"], ("a", "b")),
        ([1, 2], ((1, 2),)),
        ([[1], [2, 3]], ((1,), (2, 3))),
        ("", ("",)),
    ],
)
def test_prompts_come_in_four_shapes(prompt: object, prompts: tuple[object, ...]) -> None:
    assert Completion.read({"model": "m", "prompt": prompt}).prompt == prompts


@pytest.mark.parametrize("prompt", [None, [], [1.5], [[]], {"a": 1}, [True]])
def test_other_prompts_are_refused(prompt: object) -> None:
    with pytest.raises(ApiError):
        Completion.read({"model": "m", "prompt": prompt})


def test_text_parts_are_joined_and_the_rest_of_a_message_is_kept() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    request = Chat.read(
        {
            "model": "m",
            "messages": [
                {"role": "user", "content": parts, "name": "x"},
                {"role": "assistant", "content": None, "tool_calls": calls},
            ],
        }
    )
    assert request.chat()[0] == {"role": "user", "content": "ab", "name": "x"}
    called = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    assert request.chat()[1] == {"role": "assistant", "tool_calls": [called]}  # as in training


@pytest.mark.parametrize("arguments", ["{", "[]", "1", {"a": 1}, None])
def test_arguments_of_calls_are_json_objects_in_strings(arguments: object) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}]
    with pytest.raises(ApiError) as refused:
        Chat.read({"model": "m", "messages": [{"role": "assistant", "content": None, "tool_calls": calls}]})
    assert refused.value.param == "messages[0].tool_calls[0].function.arguments"


LEGACY = {"name": "f", "arguments": '{"b": 1, "a": 2}'}
CALL = {"id": "call_f", "type": "function", "function": LEGACY}
CALLED = {**CALL, "function": {"name": "f", "arguments": {"b": 1, "a": 2}}}
WITHOUT = {**CALL, "function": {"name": "f", "arguments": ""}}
PARTS = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]


@pytest.mark.parametrize(
    ("message", "known"),
    [
        ({"role": "assistant", "content": ""}, {"content": ""}),
        ({"role": "assistant", "content": "a", "refusal": None, "annotations": [], "audio": None}, {"content": "a"}),
        ({"role": "assistant", "content": None, "refusal": "No."}, {"content": "No."}),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, {"content": "No."}),
        ({"role": "assistant", "content": None, "tool_calls": [CALL]}, {"tool_calls": [CALLED]}),
        (
            {"role": "assistant", "content": None, "tool_calls": [WITHOUT]},
            {"tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}]},
        ),
        ({"role": "assistant", "content": None, "function_call": LEGACY}, {"tool_calls": [CALLED]}),
        ({"role": "function", "name": "f", "content": "2"}, {"role": "tool", "tool_call_id": "call_f", "content": "2"}),
        ({"role": "tool", "tool_call_id": "call_f", "content": PARTS}, {"content": "ab"}),
        ({"role": "developer", "content": PARTS, "name": "n"}, {"role": "developer", "content": "ab", "name": "n"}),
        ({"role": "system", "content": PARTS}, {"content": "ab"}),
    ],
)
def test_messages_of_every_shape_that_openai_answers_are_known(message: Any, known: dict[str, Any]) -> None:
    (made,) = Chat.read({"model": "m", "messages": [message]}).chat()
    assert made.items() >= known.items()
    assert "function_call" not in made
    assert None not in made.values()


def test_the_order_of_arguments_stays() -> None:
    (made,) = Chat.read({"model": "m", "messages": [{"role": "assistant", "function_call": LEGACY}]}).chat()
    assert list(made["tool_calls"][0]["function"]["arguments"]) == ["b", "a"]


@pytest.mark.parametrize(
    ("caps", "room"), [((8, 3), 3), ((3, 8), 3), ((None, 8), 8), ((3, None), 3), ((None, None), None)]
)
def test_an_answer_keeps_to_every_cap(caps: tuple[int | None, int | None], room: int | None) -> None:
    assert Chat.read({**CHAT, "max_tokens": caps[0], "max_completion_tokens": caps[1]}).room == room


def test_a_prompt_longer_than_the_context_gets_openais_sentence() -> None:
    assert max_new_tokens(10, None, 100, "messages") == 90
    assert max_new_tokens(10, 90, 100, "messages") == 90
    with pytest.raises(ApiError) as caught:
        max_new_tokens(10, 91, 100, "messages")
    assert caught.value.code == "context_length_exceeded"
    assert str(caught.value) == (
        "This model's maximum context length is 100 tokens. However, you requested 101 tokens (10 in the messages, "
        "91 in the completion). Please reduce the length of the messages or completion."
    )
    with pytest.raises(ApiError, match="your messages resulted in 100 tokens"):
        max_new_tokens(100, None, 100, "messages")
