"""What an answer is held to, as a grammar: a thought first where the model thinks, then JSON or calls. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from contracts.wire.errors import ApiError
from contracts.wire.schemas import Place, parts
from functions._shared.turns import Marks
from functions.generate_text.enforceable import enforceable

Literal = Callable[[str], str]
"""A text as grammars write it, its special tokens as such."""

_SPACE, _SPACES = " ?", r"( |\n( {0,16}|\t{0,4}))?"
"""White space within JSON: in calls a space, else an indented line too; a weak model would run away with more."""
_WORDS = {
    "Unknown format": "format",
    "regex": "pattern",
    "oneOf": "oneOf",
    "allOf": "allOf",
    "required property": "required",
    "multipleOf": "multipleOf",
    "float range": "maximum",
    "patternProperties": "patternProperties",
    "minProperties": "minProperties",
    "minItems": "minItems",
    "minLength": "minLength",
    "minimum": "minimum",
    "enum": "enum",
    "$ref": "$ref",
    "type": "type",
}
"""What llguidance says of a schema → the keyword that it is about."""
_MOST_LOOKED_AT = 200


def json_rule(schema: dict[str, Any], lines: bool = False) -> str:
    """Return JSON of a schema in a grammar, of one line or perhaps of more."""
    space = _SPACES if lines else _SPACE
    return f"%json {json.dumps({**enforceable(schema), 'x-guidance': {'whitespace_pattern': space}})}"


def whole(answer: str, literal: Literal, marks: Marks | None, opened: bool, lead: str, spaced: bool) -> str:
    """Return a grammar whose rule `answer` is given, behind what the model or its template writes before it.

    `spaced`: the tokenizer reads a text's first word with a space before it.
    """
    rules = ["%llguidance {}", answer, r"SPACES: /[ \n]{0,4}/", "ANY: /(?s:.*)/"]
    space = "SPACES" if spaced else ""
    first = f"({literal(lead)})?" if lead else ""
    if marks is not None:
        rules += _thought(literal, marks.close)
        unthought = f"| {literal(lead)}" if lead else ""
        first = "thought SPACES" if opened else f"({literal(marks.open)} thought SPACES {unthought})?"
    return "\n".join([*rules, f"start: {first} {space} answer"])


def _thought(literal: Literal, close: str) -> list[str]:
    written = literal(close)
    if written.startswith("<["):
        begin, _, rest = written.partition(" ")
        return [f"thought: ANY {begin} {rest}"]
    text, end = json.JSONDecoder().raw_decode(written)  # which may hold spaces
    return [f"thought: thinking {literal(close[len(text) :])}", f"thinking[lazy]: ANY {written[:end]}"]


def refused(schema: dict[str, Any], place: Place, why: str, tried: Callable[[str], str]) -> ApiError:
    """Return the error of a schema that does not compile: the keyword and where it stands.

    `tried` says why a grammar does not compile, empty where it does.
    """
    found, reason = place, why
    shared: dict[str, Any] = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    looked_at = [each for each in parts(schema, place) if isinstance(each[0], dict) and each[0]][1:_MOST_LOOKED_AT]
    for part, where, _ in sorted(looked_at, key=lambda each: -len(each[1].keys)):
        if problem := tried("start: " + json_rule({**shared, **part})):
            found, reason = where, problem
            break
    keyword = next((key for words, key in _WORDS.items() if words in reason), None)
    shown = re.sub(r"\s+", " ", reason)[:300]
    return found.refusal(f"{keyword or 'it'!r} cannot be enforced: {shown}", *([keyword] if keyword else []))
