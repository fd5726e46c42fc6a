"""An answer that is made again is cut as it was told, however its tokens come together; another answer is refused."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from functions.answer_response.core import DiffersError, Recut

THOUGHT, TEXT = "well, red or blue", "it is red, and it stays red"
_EVENTS = {"reasoning_content": "response.reasoning_text.delta", "content": "response.output_text.delta"}
Piece = tuple[str, str]


def pieces(seed: int) -> list[Piece]:
    """The answer, cut by chance."""
    draw, found = random.Random(seed), []
    for name, text in (("reasoning_content", THOUGHT), ("content", TEXT)):
        while text:
            size = draw.randint(1, 6)
            found.append((name, text[:size]))
            text = text[size:]
    return found


def chunk(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None, "logprobs": None}]}


def told(kept: Sequence[Piece], said: Sequence[Piece]) -> list[Piece]:
    """What becomes of `said` where `kept` was told before."""
    recut = Recut("resp_1", [{"type": _EVENTS[name], "delta": text} for name, text in kept])
    return [
        (name, text)
        for each_name, each_text in said
        for part in recut(chunk(**{each_name: each_text}))
        for choice in part["choices"]
        for name, text in choice["delta"].items()
    ]


@pytest.mark.parametrize("seed", range(20))
def test_what_was_told_is_told_in_the_same_pieces_and_what_follows_as_it_comes(seed: int) -> None:
    before, again = pieces(seed), pieces(seed + 100)
    for count in (0, 1, len(before) // 2, len(before)):
        found = told(before[:count], again)
        assert found[:count] == before[:count]
        for name, text in (("reasoning_content", THOUGHT), ("content", TEXT)):
            assert "".join(each for kind, each in found if kind == name) == text


def test_without_anything_told_nothing_is_cut() -> None:
    assert told([], pieces(1)) == pieces(1)


DIFFERENT: dict[str, tuple[list[Piece], list[Piece]]] = {
    "other words": ([("content", "red")], [("content", "rod")]),
    "another kind": ([("reasoning_content", "red")], [("content", "red")]),
    "a thought that ended sooner": (
        [("reasoning_content", "red"), ("content", "x")],
        [("reasoning_content", "re"), ("content", "x")],
    ),
}


@pytest.mark.parametrize(("kept", "said"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_another_answer_is_refused(kept: list[Piece], said: list[Piece]) -> None:
    with pytest.raises(DiffersError):
        told(kept, said)


def test_one_that_ends_in_the_middle_of_what_was_told_is_held_back() -> None:
    assert told([("content", "red")], [("content", "re")]) == []


def test_calls_have_the_same_ids_each_time_and_their_arguments_are_left_as_they_are() -> None:
    recut = Recut("resp_ab", [])
    call = {"index": 1, "id": "call_random", "type": "function", "function": {"name": "a", "arguments": ""}}
    rest = {"index": 1, "function": {"arguments": "{}"}}
    found = [part["choices"][0]["delta"] for part in recut(chunk(tool_calls=[call, rest]))]
    assert found == [{}, {"tool_calls": [{**call, "id": "call_ab0001"}, rest]}]


def test_log_probabilities_the_reason_to_end_and_usage_go_through_once() -> None:
    recut = Recut("resp_1", [{"type": _EVENTS["content"], "delta": "re"}])
    last = {"index": 0, "delta": {"content": "red"}, "finish_reason": "length", "logprobs": {"content": [1, 2]}}
    parts = [part["choices"][0] for part in recut({"choices": [last]})]
    assert [(each["delta"], each["logprobs"]) for each in parts] == [
        ({}, {"content": [1, 2]}),
        ({"content": "re"}, None),
        ({"content": "d"}, None),
    ]
    assert {each["finish_reason"] for each in parts} == {"length"}
    usage = {"choices": [], "usage": {"total_tokens": 1}}
    assert [*recut(usage)] == [usage]
