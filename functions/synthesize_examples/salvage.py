"""What can still be read of a model's reply: strict JSON, fenced, wrapped in words, cut off, after its thinking."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from functions.synthesize_examples.core import Candidate

_DECODER = json.JSONDecoder(strict=False)  # control characters inside strings are let through
_THINKING = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)|\A.*</think(?:ing)?>", re.S)
_FENCE = re.compile(r"```[a-zA-Z]*\s(.*?)(?:```|\Z)", re.S)
_UNSTORABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_TRIES = 2000
"""Places at which an object is looked for, so that a hostile reply costs bounded time."""


def read_reply(text: str) -> list[Candidate] | None:
    """Return the pairs of a reply; an empty list where it says that there are none, None where it cannot be read."""
    whole = _loads(text)
    if whole is not None:
        return _pairs(whole)
    told = _THINKING.sub("", text)
    for part in (*_FENCE.findall(told), told):
        whole = _loads(part)
        if whole is None:
            whole = _first_value(part)
        found = None if whole is None else _pairs(whole)
        if found is not None:
            return found
    return [pair for value in _objects(told) for pair in _pairs(value) or ()] or None


def _loads(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _first_value(text: str) -> Any:
    """Return the value at the first bracket that opens one, or None."""
    start = re.search(r"[{\[]", text)
    return None if start is None else _value_at(text, start.start())


def _value_at(text: str, start: int) -> Any:
    try:
        return _DECODER.raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        return None


def _objects(text: str) -> Iterator[Any]:
    """Yield every whole object, outermost first; what was cut off does not hide those before it."""
    position = 0
    for _ in range(_TRIES):
        position = text.find("{", position)
        if position < 0:
            return
        try:
            value, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            position += 1
        else:
            yield value
            position = end


def _pairs(value: Any) -> list[Candidate] | None:
    """Return the pairs in a list, in an object's only list, or in an object that is a pair itself."""
    if isinstance(value, dict):
        one = _pair(value)
        if one is not None:
            return [one]
        lists = [item for item in value.values() if isinstance(item, list)]
        if len(lists) != 1:
            return None
        value = lists[0]
    if not isinstance(value, list):
        return None
    found = [pair for item in value if (pair := _pair(item)) is not None]
    return found if found or not value else None


def _pair(value: Any) -> Candidate | None:
    if not isinstance(value, dict):
        return None
    said = [value.get(name) for name in ("question", "answer", "quote")]
    question, answer, quote = [_clean(text) if isinstance(text, str) else "" for text in said]
    return Candidate(question, answer, quote) if question and answer else None


def _clean(text: str) -> str:
    """Return `text` on one line, without control characters and halves of surrogate pairs, which no store takes."""
    return " ".join(
        "".join(" " if letter < " " or "\ud800" <= letter <= "\udfff" else letter for letter in text).split()
    )
