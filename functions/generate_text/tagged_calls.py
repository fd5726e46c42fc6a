"""Calls that a model writes as a name and tagged arguments: `<parameter=key>value</parameter>`. Pure."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from functions.generate_text.call_syntax import Call, IncompleteError, NoCallError, Parameters, check_name, made_call


@dataclass(frozen=True, slots=True)
class TaggedForm:
    """A name, then each key with its value between tags."""

    first: str
    """Between the name and the first key."""
    opens: tuple[str, str]
    """Between a key and a value that is text, and one that is not."""
    nexts: tuple[str, str]
    """Between such a value and the next key; `\\0` stands for the value's own key."""
    ends: tuple[str, str]
    """Between such a value and the end of the call."""
    empty: str
    """Between the name and the end of a call without arguments."""
    within: str = ""
    """What stands before each tag of lists and objects where those are tags too (`<item>`, or a key's); empty: JSON."""

    @property
    def marks(self) -> tuple[str, ...]:
        """What is written within a call, between its parts."""
        return (self.first, *self.opens, *self.nexts, *self.ends, self.empty)

    def take(self, text: str, at: int, types: Parameters) -> tuple[Call, int]:
        places = [(text.find(mark, at), mark) for mark in (self.first, self.empty) if mark]
        found = sorted((place, -len(mark), mark) for place, mark in places if place >= 0)
        if not found:
            raise IncompleteError
        place, _, mark = found[0]
        name = text[at:place].strip()
        check_name(name)
        if mark == self.empty:
            return made_call(name, {}), place + len(mark)
        arguments: dict[str, Any] = {}
        place += len(self.first)
        while True:
            key, kind, begin = self._key(text, place)
            value, place, last = self._value(text, begin, key, kind)
            arguments[key] = self._typed(value, kind, types.get(name, {}).get(key))
            if last:
                return made_call(name, arguments), place

    def _key(self, text: str, at: int) -> tuple[str, int, int]:
        marks = [(text.find(mark, at), -len(mark), kind) for kind, mark in enumerate(self.opens)]
        found = min((each for each in marks if each[0] >= 0), default=None)
        if found is None:
            raise IncompleteError
        place, length, kind = found
        key = text[at:place]
        check_name(key)
        return key, kind, place - length

    def _value(self, text: str, at: int, key: str, kind: int) -> tuple[str, int, bool]:
        follow, end = (each[kind].replace("\0", key) for each in (self.nexts, self.ends))
        place = self._separator(text, at, kind, follow, end)
        if text.startswith(end, place) and not (follow.startswith(end) and text.startswith(follow, place)):
            if follow.startswith(text[place:]) and len(text) - place > len(end):
                raise IncompleteError
            return text[at:place], place + len(end), True
        return text[at:place], place + len(follow), False

    def _separator(self, text: str, at: int, kind: int, follow: str, end: str) -> int:
        """Return where a value ends: outside brackets and quotes, where a separator may stand inside a value too."""
        if kind == 0 or self.opens[0] == self.opens[1]:
            found = [place for mark in (follow, end) if (place := text.find(mark, at)) >= 0]
            if not found:
                raise IncompleteError
            return min(found)
        quote = re.escape(self._quotes()[0] if self._quoted else '"')
        string = rf"{quote}.*?{quote}" if self._quoted else r'"(?:[^"\\]|\\.)*"'
        pieces = re.compile(rf"{string}|(?!{quote})[^\]}}]", re.DOTALL)
        depth, place = 0, at
        while place < len(text):
            if depth == 0 and text.startswith((follow, end), place):
                return place
            if text[place] in "]}":
                depth, place = depth - 1, place + 1
            elif piece := pieces.match(text, place):
                depth, place = depth + (piece[0] in ("[", "{")), piece.end()
            else:
                break
        raise IncompleteError

    @property
    def _quoted(self) -> bool:
        return self.opens[0] != self.opens[1] and self.opens[0].startswith(self.opens[1])

    def _quotes(self) -> tuple[str, str]:
        return self.opens[0].removeprefix(self.opens[1]), '"'

    def _typed(self, value: str, kind: int, schema: Any) -> Any:
        if kind == 0 and self.opens[0] != self.opens[1]:
            return value
        kinds = schema.get("type") if isinstance(schema, dict) else None
        if kinds == "string":
            return value
        if self.within:
            return _of_tags(value, self.within, schema if isinstance(schema, dict) else {})
        if self._quoted:
            parts = value.split(self._quotes()[0])
            value = "".join(json.dumps(part) if nth % 2 else _as_json(part) for nth, part in enumerate(parts))
        for read in (json.loads, ast.literal_eval):  # templates write objects as JSON, or as Python prints them
            try:
                return read(value.strip())
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
        return value


def _of_tags(text: str, mark: str, schema: dict[str, Any]) -> Any:
    """Return a list or an object whose items stand between tags, each tag behind `mark`; else what is no tag."""
    try:
        items = [] if schema.get("type") == "string" else list(_tags(text, mark))
    except NoCallError:
        items = []
    if not items:
        return _untagged(text, schema.get("type"))
    known = schema.get("properties")
    found = known if isinstance(known, dict) else {}
    inner = schema.get("items")
    if {key for key, _ in items} == {"item"} and "item" not in found:
        return [_of_tags(item, mark, inner if isinstance(inner, dict) else {}) for _, item in items]
    return {key: _of_tags(item, mark, found[key] if isinstance(found.get(key), dict) else {}) for key, item in items}


def _untagged(text: str, kind: Any) -> Any:
    if kind == "string":
        return text
    if kind in ("array", "object") and not text.strip():
        return [] if kind == "array" else {}
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return text


def _tags(text: str, mark: str) -> Iterator[tuple[str, str]]:
    """Yield each tag of the outermost with what stands in it; raises NoCallError where one does not end."""
    tag, at = re.compile(rf"{re.escape(mark)}<(/?)([^<>/]+)>"), 0
    while opened := tag.search(text, at):
        depth = 1
        for each in tag.finditer(text, opened.end()):
            if each[2] == opened[2]:
                depth += -1 if each[1] else 1
            if depth == 0:
                yield opened[2], text[opened.end() : each.start()]
                at = each.end()
                break
        else:
            raise NoCallError


def _as_json(text: str) -> str:
    """Return what stands outside strings with keys in quotes, and Python's words as JSON's."""
    text = re.sub(r"([{,]\s*)([A-Za-z_][\w-]*)(\s*:)", r'\1"\2"\3', text)
    return re.sub(r"\b(None|True|False)\b", lambda found: {"None": "null"}.get(found[1], found[1].lower()), text)
