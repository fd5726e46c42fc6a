"""Calls of tools in the text of an answer, in the forms in which models write them. Pure.

A form is JSON that holds name and arguments (`{"name": …, "arguments": …}`), a name with JSON behind it
(`[TOOL_CALLS]name[ARGS]{…}`), a name with tagged arguments (`<parameter=key>value</parameter>`), or Python
(`name(key='value')`). Which one a model has is read off its chat template (`call_forms.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from functions.generate_text.call_syntax import (
    Call,
    CallSyntax,
    IncompleteError,
    NoCallError,
    Parameters,
    made_call,
    parameters,
    read_object,
)

_FREE, _AGAIN = 1 << 20, 8
"""Characters that are looked at anew with every token, and how often each is beyond them: a call may never end."""


@dataclass(frozen=True, slots=True)
class JsonForm:
    """An object that holds name and arguments."""

    name: tuple[str, ...]
    arguments: tuple[str, ...]
    by_name: bool = False
    """Whether the object's only key is the name and its value the arguments."""
    marks = ()

    def take(self, text: str, at: int, types: Parameters) -> tuple[Call, int]:
        if not text.startswith("{", at):
            raise NoCallError
        found, end = read_object(text, at)
        if self.by_name:
            if len(found) != 1:
                raise NoCallError
            name, arguments = next(iter(found.items()))
        else:
            name, arguments = _at(found, self.name), _at(found, self.arguments)
        if arguments is None and isinstance(name, str):
            arguments = {}
        return made_call(name, arguments), end


@dataclass(frozen=True, slots=True)
class NamedForm:
    """A name, then its arguments as JSON."""

    middle: re.Pattern[str]
    marks: tuple[str, ...]

    def take(self, text: str, at: int, types: Parameters) -> tuple[Call, int]:
        found = self.middle.search(text, at)
        if found is None:
            raise IncompleteError
        start = text.find("{", found.end() - 1 if found.group().endswith("{") else found.end())
        if start < 0:
            raise IncompleteError
        arguments, end = read_object(text, start)
        return made_call(text[at : found.start()].strip(), arguments), end


def _at(found: Any, path: Sequence[str]) -> Any:
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


@dataclass(frozen=True)
class CallForm:
    """How a family writes calls of tools."""

    opening: str
    """What announces them; empty: an answer that begins with a call is one."""
    form: CallSyntax
    around: str
    """A pattern of what is written before, between and behind calls."""

    @cached_property
    def _noise(self) -> re.Pattern[str]:
        """What may stand between calls and behind the last."""
        return re.compile(rf"(?:{self.around or '(?!)'}|[\s,;\[\]])*")

    def behind(self, text: str, at: int) -> int:
        """Return where what is written around calls ends that begins at `at`."""
        found = self._noise.match(text, at)
        return found.end() if found else at

    def keeps(self, token: str) -> bool:
        """Whether a special token is a part of calls, so that it has to be decoded."""
        written = (self.opening, *self.form.marks)
        return any(token in mark for mark in written) or re.escape(token) in self.around

    def begin(self, text: str, types: Parameters, from_: int = 0) -> int:
        """Return where calls begin, or may begin once more text comes; the text's length where neither is so."""
        if not self.opening:
            return self._begin_at_once(text, types)
        found = text.find(self.opening, from_)
        if found >= 0:
            return found
        longest = min(len(self.opening) - 1, len(text) - from_)
        return len(text) - next((size for size in range(longest, 0, -1) if self.opening.startswith(text[-size:])), 0)

    def _begin_at_once(self, text: str, types: Parameters) -> int:
        start = len(text) - len(text.lstrip())
        rest = text[start:]
        first = ("{",) if isinstance(self.form, JsonForm) else tuple(types)
        return start if any(rest.startswith(each) or each.startswith(rest) for each in first) else len(text)

    def calls(self, text: str, at: int, types: Parameters) -> Iterator[tuple[Call, int]]:
        """Yield the whole calls that stand from `at` on, each with where it ends, up to what is none."""
        while at < len(text):
            begin = self.behind(text, at)
            try:
                call, at = self.form.take(text, begin, types)
            except (IncompleteError, NoCallError):
                return
            if not self.opening and call.name not in types:
                return
            yield call, at


class CallReader:
    """Takes an answer's text as it comes, and tells its content and its whole calls apart."""

    def __init__(self, form: CallForm, tools: Sequence[dict[str, Any]], most: int | None = None) -> None:
        """At most `most` calls are told; None: all."""
        self._form, self._types, self._most = form, parameters(tools), most
        self._text = ""
        self._told = 0  # characters of content told, or passed over because they are calls
        self._space = ""  # white space that is content if more of it comes
        self._count = 0
        self._looked = 0  # characters looked at for calls
        self._ended = False

    def add(self, text: str) -> tuple[str, list[Call]]:
        """Return the content and the calls that are certain now."""
        self._text += text
        if self._count:
            return "", self._calls(self._told)
        if not self._form.opening and self._told:
            return self._tell(len(self._text)), []
        begin = self._form.begin(self._text, self._types, self._told)
        content = self._tell(begin)
        return content, self._calls(begin)

    def end(self) -> tuple[str, list[Call]]:
        """Return the rest: what looked like the beginning of calls and was none is content."""
        self._ended = True
        calls = self.add("")[1]
        if self._count:
            return self._text[self._form.behind(self._text, self._told) :].rstrip(), calls
        return self._space + self._text[self._told :], calls

    def _tell(self, upto: int) -> str:
        text = self._space + self._text[self._told : upto]
        self._told = max(self._told, upto)
        content = text.rstrip()
        self._space = text[len(content) :]
        return content

    def _calls(self, at: int) -> list[Call]:
        if not self._ended:
            looking = len(self._text) - at
            if self._looked + looking > _FREE + _AGAIN * len(self._text):
                return []
            self._looked += looking
        found = []
        for call, end in self._form.calls(self._text, at, self._types):
            self._told = end
            self._count += 1
            if self._most is None or self._count <= self._most:
                found.append(call)
        return found
