"""Calls of tools in the text of an answer, in the forms in which models write them. Pure.

A form is JSON that holds name and arguments (`{"name": …, "arguments": …}`), a name with JSON behind it
(`[TOOL_CALLS]name[ARGS]{…}`), a name with tagged arguments (`<parameter=key>value</parameter>`), or Python
(`name(key='value')`). Which one a model has is read off its chat template (`call_forms.py`).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

_FREE, _AGAIN = 1 << 20, 8
"""Characters that are looked at anew with every token, and how often each is beyond them: a call may never end."""
_SPLITS = 64
"""Places at which a text without escapes may end that are tried before it is no call."""
_DECODER = json.JSONDecoder()
_CALLED = re.compile(r"[\w.:-]+\(")
_KEY = re.compile(r"[\s,]*([^\s=,()\[\]{}\"']{1,256})\s*=\s*")
_NO_MORE = re.compile(r"[\s,]*\)")
_PIECE = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\[\](){},"']+|[\[\](){},]""", re.DOTALL)
"""A part of a value in Python: a string, a bracket, a comma, or what stands between them."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the function's name, and its arguments as JSON text of an object."""

    name: str
    arguments: str


class IncompleteError(Exception):
    """More text has to come."""


class NoCallError(Exception):
    """What stands there is no call."""


class CallSyntax(Protocol):
    @property
    def marks(self) -> tuple[str, ...]:
        """What is written within a call, between its parts."""

    def take(self, text: str, at: int, types: Parameters) -> tuple[Call, int]:
        """Return the call at or behind `at` and where it ends; raises IncompleteError or NoCallError."""


Parameters = dict[str, dict[str, Any]]
"""Name of each tool that may be called → name of each of its parameters → its JSON schema."""


def parameters(tools: Sequence[dict[str, Any]]) -> Parameters:
    """Return what a request's tools say of their parameters."""
    found: Parameters = {}
    for tool in tools:
        function = tool.get("function", tool)
        parameters = function.get("parameters") if isinstance(function, dict) else None
        properties = parameters.get("properties") if isinstance(parameters, dict) else None
        found[str(function.get("name"))] = properties if isinstance(properties, dict) else {}
    return found


# --- the forms


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
        return _call(name, arguments), end


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
        return _call(text[at : found.start()].strip(), arguments), end


@dataclass(frozen=True, slots=True)
class PythonForm:
    """`name(key='value', other=7)`."""

    raw: bool = False
    """Whether what stands in the quotes of a text is not escaped."""
    marks = ()

    def take(self, text: str, at: int, types: Parameters) -> tuple[Call, int]:
        found = _CALLED.search(text, at)
        if found is None:
            raise IncompleteError
        name, tries = found.group()[:-1], [_SPLITS]
        known = frozenset(types.get(name, ())) if self.raw else frozenset[str]()
        try:
            arguments, end = self._rest(text, found.end(), {}, known, tries)
        except NoCallError:
            if not known:
                raise
            arguments, end = self._rest(text, found.end(), {}, frozenset(), tries)  # it names what nobody told it of
        except RecursionError:
            raise NoCallError from None
        return _call(name, arguments), end

    def _rest(
        self, text: str, at: int, told: dict[str, Any], known: frozenset[str], tries: list[int]
    ) -> tuple[dict[str, Any], int]:
        """Return all arguments and the call's end; where a text in quotes is not escaped, the first that fit.

        `known` are the keys that may come, all where it is empty; `tries` is how many ends of texts are still tried.
        """
        if last := _NO_MORE.match(text, at):
            return told, last.end()
        key = _KEY.match(text, at)
        if key is None:
            raise IncompleteError if len(text) - at < 256 and "=" not in text[at:] else NoCallError
        if known and (key[1] not in known or key[1] in told):
            raise NoCallError
        failed: IncompleteError | NoCallError = NoCallError()
        for value, end in self._values(text, key.end()):
            tries[0] -= 1
            try:
                return self._rest(text, end, {**told, key[1]: value}, known, tries)
            except (IncompleteError, NoCallError) as error:
                failed = error if isinstance(error, IncompleteError) or tries[0] < 0 else failed
                if tries[0] < 0:
                    break
        raise failed

    def _values(self, text: str, at: int) -> Iterator[tuple[Any, int]]:
        """Yield the values that may begin here, each with where it ends; raises IncompleteError or NoCallError."""
        if not (self.raw and text.startswith(("'", '"'), at)):
            yield self._value(text, at)
            return
        for end in re.compile(rf"{text[at]}(?=\s*(?:\)|,\s*[\w.-]+\s*=))").finditer(text, at + 1):
            yield text[at + 1 : end.start()], end.end()
        raise IncompleteError

    def _value(self, text: str, at: int) -> tuple[Any, int]:
        pieces, depth, place = list[str](), 0, at
        while (piece := _PIECE.match(text, place)) and (depth or piece[0] not in ",)"):
            depth += (piece[0] in "[({") - (piece[0] in "])}")
            pieces.append(
                piece[0].replace("\n", "\\n") if piece[0][0] in "\"'" else piece[0]
            )  # as templates leave them
            place = piece.end()
        if piece is None:
            raise IncompleteError
        try:
            return _plain(ast.parse("".join(pieces).strip(), mode="eval").body), place
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            raise NoCallError from None


def _plain(node: ast.expr) -> Any:
    """Return a value as Python or JSON writes it."""
    if isinstance(node, ast.Dict):
        return {_plain(key): _plain(item) for key, item in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.List | ast.Tuple):
        return [_plain(item) for item in node.elts]
    if isinstance(node, ast.Name) and node.id in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[node.id]
    return ast.literal_eval(node)


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
        _named(name)
        if mark == self.empty:
            return _call(name, {}), place + len(mark)
        arguments: dict[str, Any] = {}
        place += len(self.first)
        while True:
            key, kind, begin = self._key(text, place)
            value, place, last = self._value(text, begin, key, kind)
            arguments[key] = self._typed(value, kind, types.get(name, {}).get(key))
            if last:
                return _call(name, arguments), place

    def _key(self, text: str, at: int) -> tuple[str, int, int]:
        marks = [(text.find(mark, at), -len(mark), kind) for kind, mark in enumerate(self.opens)]
        found = min((each for each in marks if each[0] >= 0), default=None)
        if found is None:
            raise IncompleteError
        place, length, kind = found
        key = text[at:place]
        _named(key)
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


def read_object(text: str, at: int) -> tuple[dict[str, Any], int]:
    try:
        found, end = _DECODER.raw_decode(text, at)
    except RecursionError:
        raise NoCallError from None
    except ValueError as error:
        raise (IncompleteError if _unfinished(text, at, error) else NoCallError) from None
    if not isinstance(found, dict):
        raise NoCallError
    return found, end


def _unfinished(text: str, at: int, error: ValueError) -> bool:
    """Whether a JSON value could still become one: it fails at its end, or inside a string or a word that is open."""
    where = getattr(error, "pos", at)
    rest = text[where:]
    return not rest.strip() or rest.startswith('"') or re.fullmatch(r"[\w.+-]*", rest) is not None


def _at(found: Any, path: Sequence[str]) -> Any:
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _named(name: Any) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[^\s<>{}\[\]()\"']{1,256}", name):
        raise NoCallError


def _call(name: Any, arguments: Any) -> Call:
    _named(name)
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            raise NoCallError from None
    if not isinstance(arguments, dict):
        raise NoCallError
    try:
        said = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):  # Python has values that JSON has not
        raise NoCallError from None
    return Call(name, said.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


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
