"""Calls by rule: in every form, what a grammar allows is read as a call of the function, of its schema."""

from __future__ import annotations

import json
import random
from functools import partial
from typing import Any

import numpy as np
import pytest

from functions.generate_text.call_forms import shown_calls
from functions.generate_text.call_rules import read_shown, rules
from functions.generate_text.grammars import Constraint, Vocabulary
from functions.generate_text.tool_calls import CallReader
from tests.unit.generate_text.test_tool_calls import FORMS, TEMPLATES, turn

SPECIAL = {"<|end|>": 256, "<|tools|>": 257, "<|/tools|>": 258, "[CALLS]": 259}
BYTES: list[bytes | None] = [bytes([byte]) for byte in range(256)]
ENDS: list[bytes | None] = [b"\n</parameter><parameter=", b'</value><value of="']
"""Whole, since nobody writes them letter by letter by chance."""
CLOSING = frozenset(b"\"'<]}) \n,")
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["metric", "imperial"]},
                "days": {"type": "integer"},
                "more": {"type": "array", "items": {"type": "boolean"}},
            },
            "required": ["city", "unit", "days", "more"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary([*BYTES, *[None] * len(SPECIAL), *ENDS], SPECIAL, frozenset((256,)), spaced=False)


def written(vocabulary: Vocabulary, grammar: str, seed: int) -> str:
    """Return a text that the grammar allows, at random."""
    found = vocabulary.compile(grammar)
    assert not isinstance(found, str), f"{found}\n{grammar}"
    state, draw = Constraint(found.deep_copy(), vocabulary), random.Random(seed)
    names = {id: name.encode() for name, id in SPECIAL.items()} | dict(enumerate(ENDS, start=260))
    text = b""
    for _ in range(3000):
        allowed = np.flatnonzero(~state.banned().numpy()).tolist()
        assert state.error is None, (state.error, text)
        near = [id for id in allowed if id >= 260 or id in CLOSING]
        plain = [id for id in allowed if 32 <= id < 127]
        token = draw.choice((near if draw.random() < 0.6 else []) or plain or allowed)
        if token == 256:
            break
        text += names.get(token) or bytes([token])
        state.took(token)
        if state.ended:
            break
    return text.decode(errors="replace")


@pytest.mark.parametrize("name", TEMPLATES)
def test_whatever_a_grammar_of_calls_allows_is_read_as_a_call_of_its_schema(name: str, vocabulary: Vocabulary) -> None:
    form = FORMS[name]
    shown = read_shown(form, *shown_calls(partial(turn, TEMPLATES[name])), ["<|end|>"], "")
    functions = {"get_weather": (0, TOOL["function"])}
    made = "\n".join([*rules(form, shown, functions, vocabulary.literal, 1), "ANY: /(?s:.*)/", "start: calls"])
    for seed in range(4):
        text = written(vocabulary, made, seed)
        reader = CallReader(form, [TOOL])
        content, calls = reader.add(text)
        rest, more = reader.end()
        assert len([*calls, *more]) == 1, text
        (call,) = [*calls, *more]
        assert call.name == "get_weather", text
        arguments = json.loads(call.arguments)
        assert list(arguments) == ["city", "unit", "days", "more"], text
        assert arguments["unit"] in ("metric", "imperial")
        assert type(arguments["days"]) is int
        assert all(type(each) is bool for each in arguments["more"])
        assert not (content + rest).strip()
