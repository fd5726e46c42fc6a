"""The form in which a family of models writes calls of tools, read off its chat template. Pure.

No table of families: known calls are rendered, and what the template writes before, between and behind their names,
keys and values is the form, be it that the template writes them or that they stand in a message's text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from functions._shared.turns import alike
from functions.generate_text.call_syntax import Call, CallSyntax, IncompleteError, NoCallError, parameters, read_object
from functions.generate_text.python_calls import PythonForm
from functions.generate_text.tagged_calls import TaggedForm
from functions.generate_text.tool_calls import CallForm, JsonForm, NamedForm

Render = Callable[[dict[str, Any], list[dict[str, Any]]], str]
"""What a template writes of an assistant's message behind a prompt with these tools; raises what it raises."""
_Found = tuple[CallSyntax, int]
"""A form, and where in the answer the first call begins."""

_NAMES = ("zname0", "zname1")
_TEXT, _NUMBER, _OTHER = {"key_a": "zval"}, {"key_b": 7}, {"key_c": "zvel"}
_BOTH = _TEXT | _NUMBER
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "zdescription",
            "parameters": {
                "type": "object",
                "properties": {
                    key: {"type": kind, "description": "zkey"}
                    for key, kind in (("key_a", "string"), ("key_b", "integer"), ("key_c", "string"))
                },
                "required": [],
            },
        },
    }
    for name in _NAMES
]
_TYPES = parameters(_TOOLS)
_NESTED = re.compile(r"<key_a>([^\s\w<>]\S*?)<key_b>zval\1</key_b>")
"""An object within an object, as tags within tags; what stands before each of them."""


def read_form(render: Render) -> CallForm | None:
    """Return how calls are written; None where they cannot be shown, or in a way that cannot be read back."""
    return _Probe(render).form()


@dataclass(frozen=True)
class _Probe:
    """A template, and what it writes of known calls."""

    render: Render

    def form(self) -> CallForm | None:
        """Return the form in which the known call can be read back."""
        try:
            answer = self.answer(_BOTH)
        except Exception:  # noqa: BLE001  whatever a template raises: it cannot show this
            return None
        for reader in (self._json, self._named, self._python, self._tagged):
            try:
                found = reader(answer)
            except Exception:  # noqa: BLE001  it shows this call and not another
                found = None
            if found is None:
                continue
            form = self._whole(answer, *found)
            calls = [call for call, _ in form.calls(answer, form.begin(answer, _TYPES), _TYPES)]
            if calls == [Call(_NAMES[0], json.dumps(_BOTH))]:
                return form
        return None

    def answer(self, *calls: dict[str, Any]) -> str:
        """Return an assistant's turn with calls of these arguments, without the end of a turn."""
        made = [
            {"id": f"zcall{nth}000", "type": "function", "function": {"name": name, "arguments": arguments}}
            for nth, (name, arguments) in enumerate(zip(_NAMES, calls, strict=False))
        ]
        plain = self.render({"role": "assistant", "content": "zanswer"}, _TOOLS)
        whole = self.render({"role": "assistant", "tool_calls": made}, _TOOLS)
        shared = plain[: alike(plain, whole)]
        shared = re.sub(r"[<\[(]\S?[^\s<>\[\]()]*$", "", shared)  # a tag stays whole
        if whole.startswith(_NAMES[0], len(shared)):
            shared = re.sub(r"\S*$", "", shared)  # what says to whom it is
        return whole[len(shared) :].removesuffix(plain.rpartition("zanswer")[2])

    def two(self, first: dict[str, Any]) -> str:
        """Return a turn with a call of these arguments and another; empty where one alone can be shown."""
        try:
            two = self.answer(first, _OTHER)
        except Exception:  # noqa: BLE001  many templates refuse a second call
            return ""
        return two if _NAMES[1] in two else ""

    def _json(self, answer: str) -> _Found | None:
        name = answer.find(_NAMES[0])
        for start in (match.start() for match in re.finditer(r"\{", answer[:name])):
            try:
                found, end = read_object(answer, start)
            except (IncompleteError, NoCallError):
                continue
            if end < name:
                continue
            if list(found) == [_NAMES[0]]:
                return JsonForm((), (), by_name=True), start
            named = next((path for path, value in _walk(found) if value == _NAMES[0]), None)
            filled = next((path for path, value in _walk(found) if _decoded(value) == _BOTH), None)
            if named is not None and filled is not None:
                return JsonForm(named, filled), start
        return None

    def _named(self, answer: str) -> _Found | None:
        name = answer.rfind(_NAMES[0])
        start = answer.find("{", name)
        try:
            found, _ = read_object(answer, start)
        except (IncompleteError, NoCallError):
            return None
        middle = answer[name + len(_NAMES[0]) : start]
        form = NamedForm(re.compile(_pattern(middle)), (middle,))
        return (form, name) if name >= 0 and found == _BOTH else None

    def _python(self, answer: str) -> _Found | None:
        name = answer.find(_NAMES[0])
        if not answer.startswith("(key_a=", name + len(_NAMES[0])):
            return None
        return PythonForm(raw="z'v\"l" in self.answer({"key_a": "z'v\"l"})), name

    def _tagged(self, answer: str) -> _Found | None:
        try:
            first, opens, follows = _around(answer, "key_a", "zval", "key_b")
            _, opens_other, follows_other = _around(self.answer(_NUMBER | _OTHER), "key_b", "7", "key_c")
            ends = [
                _end(_behind(self.answer(given), *map(str, *given.items())), self.two(given))
                for given in (_TEXT, _NUMBER)
            ]
            nothing = self.answer({}).rpartition(_NAMES[0])[2]
            nested = _NESTED.search(self.answer({"key_a": {"key_b": "zval"}}))
        except Exception:  # noqa: BLE001  it does not show them so
            return None
        empty = _end(nothing, self.two({}))
        within = nested[1] if nested else ""
        form = TaggedForm(first, (opens, opens_other), (follows, follows_other), (ends[0], ends[1]), empty, within)
        return form, answer.rfind(_NAMES[0])

    def _whole(self, answer: str, form: CallSyntax, start: int) -> CallForm:
        before = answer[:start].strip()
        before = re.split(r"</[\w:]*think\w*>|<\|END_THINKING\|>", before)[-1].strip()  # thinking is no call
        pieces = {before}
        for turn in (answer, self.two(_BOTH)):
            try:
                _, end = form.take(turn, start, _TYPES)
            except (IncompleteError, NoCallError):
                continue
            following = turn.find(_NAMES[1], end)
            if following >= 0 and isinstance(form, JsonForm):
                following = turn.find("{", end)
            elif following >= 0 and isinstance(form, NamedForm | TaggedForm):
                following = turn.rfind(_NAMES[1])  # a header may say it too
            pieces.add(turn[end : following if following >= 0 else None].strip())
        pieces |= {re.sub(r"<[^<>]*>$", "", piece) for piece in pieces}  # the last may be where generation stops
        pieces |= {tag for piece in pieces for tag in re.findall(r"<[^<>\s]*>", piece)}
        noise = "|".join(_pattern(piece) for piece in sorted(pieces, key=lambda each: (-len(each), each)) if piece)
        return CallForm(re.split(r"zname\d|zcall\d", before)[0].strip(), form, noise)


def _decoded(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None


def _walk(found: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, found
    if isinstance(found, dict):
        for key, value in found.items():
            yield from _walk(value, (*path, key))


def _around(text: str, key: str, value: str, other: str) -> tuple[str, str, str]:
    """Return what stands between name and key, key and value, value and next key; ValueError where one is missing."""
    rest = text.rpartition(_NAMES[0])[2]
    before, rest = rest.split(key, 1)
    between, rest = rest.split(value, 1)
    after, _ = rest.split(other, 1)
    return before, between, after.replace(key, "\0")


def _behind(text: str, key: str, value: str) -> str:
    return text.rpartition(_NAMES[0])[2].split(key, 1)[1].split(value, 1)[1].replace(key, "\0")


def _end(rest: str, two: str) -> str:
    """Return how much of what follows a value closes the call itself: what stands there too before another call."""
    if not two:
        return rest
    following = two[two.index(_NAMES[0]) : two.index(_NAMES[1])]
    following = re.sub("key_[ab]", "\0", following)
    shared = next(rest[:size] for size in range(len(rest), -1, -1) if rest[:size] in following)
    return re.sub(r"(?:<[^<>]*|[\s\[({|])+$", "", shared) or rest


def _pattern(text: str) -> str:
    """Return a text as a pattern in which names, ids of calls and their numbers may be others."""
    pattern = re.escape(text)
    pattern = re.sub(r"zname\d", r"[^\\s<>]+", pattern)
    pattern = re.sub(r"zcall\d000", r"[\\w.:-]*", pattern)
    return re.sub(r"(?<![\w\\])\d+(?!\w)", r"\\d+", pattern)


KNOWN, KNOWN_TOOLS = _NAMES, _TOOLS
"""The functions that `shown_calls` calls."""


def shown_calls(render: Render) -> tuple[str, str]:
    """Return what a template writes of a known call, and of two; the second is empty where one alone can be shown."""
    probe = _Probe(render)
    return probe.answer(_BOTH), probe.two(_BOTH)
