"""Calls of tools as a grammar, in a family's own form: what its template writes of a known call and around it. Pure."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.wire.errors import ApiError
from contracts.wire.formats import is_strict, parameters_of
from contracts.wire.schemas import Place, Schema, check_schema
from functions._shared.turns import alike
from functions.generate_text.answer_rules import Literal, json_rule
from functions.generate_text.call_forms import KNOWN
from functions.generate_text.call_syntax import IncompleteError, NoCallError, Parameters, read_object
from functions.generate_text.python_calls import PythonForm
from functions.generate_text.tagged_calls import TaggedForm
from functions.generate_text.tool_calls import CallForm, JsonForm, NamedForm

Function = tuple[int, Mapping[str, Any]]
"""Its place among the tools, and what they say of it."""

_MOST_PARAMETERS = 64
"""Parameters of a function where a call is not JSON."""
_ID = "CALL_ID"
_ESCAPES = r"""|\\['"\\nt]"""


def _terminals(quote: str, escapes: str) -> list[str]:
    """Return what rules are made of; texts of Python stand in `quote`s."""
    text = rf"PY_TEXT: /{quote}([^{quote}\\\n\r]{escapes}){{0,1000}}{quote}/"
    any_ = 'PY_TEXT | PY_NUMBER | py_flag | py_none | "[" (py_any (", " py_any)*)? "]"'
    return [
        "CALL_ID: /[a-zA-Z0-9]{9}/",
        text,
        r"PY_NUMBER: /-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,15})?/",
        r"PY_WHOLE: /-?(0|[1-9][0-9]{0,15})/",
        'py_flag: "True" | "False" | "true" | "false"',
        'py_none: "None" | "null"',
        f'py_any: {any_} | "{{" (PY_TEXT ": " py_any (", " PY_TEXT ": " py_any)*)? "}}"',
    ]


_SHAPELESS = frozenset(("type", "enum", "const", "items", "title", "description", "default", "examples"))
"""Keywords that a value is held to where it is not JSON."""


class UnknownFormError(Exception):
    """Calls that cannot be held to the form in which the model writes them; the message says why."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a template writes of calls."""

    before: str
    call: str
    """The known call itself."""
    between: str
    behind: str


def read_shown(form: CallForm, one: str, two: str, stops: Sequence[str], close: str) -> Shown:
    """Return what stands around the calls of a rendered turn; `close` ends a thought. Raises UnknownFormError."""
    begin, end = _found(form, one, 0)
    before = one[:begin]
    if close and close in before:
        before = before.rpartition(close)[2].lstrip()
    behind = _cut(one[end:], stops)
    between = ""
    if two:
        _, first_end = _found(form, two, 0)
        second, second_end = _found(form, two, first_end)
        between, behind = two[first_end:second], _cut(two[second_end:], stops)
    if not two or any(stop in between for stop in stops):
        between = ""
    return Shown(before, one[begin:end], between, behind)


def _found(form: CallForm, text: str, at: int) -> tuple[int, int]:
    """Return where the next known call begins and ends."""
    start = form.behind(text, at if at else form.begin(text, _TYPES))
    try:
        call, end = form.form.take(text, start, _TYPES)
    except (IncompleteError, NoCallError):
        raise UnknownFormError("its chat template shows calls in a way that cannot be written by rule") from None
    begin = start
    if isinstance(form.form, NamedForm | PythonForm | TaggedForm):
        begin = text.find(call.name, start)
    return begin, end


_TYPES: Parameters = {name: {} for name in KNOWN}


def _cut(text: str, stops: Sequence[str]) -> str:
    return text[: min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))]


def rules(
    form: CallForm,
    shown: Shown,
    functions: Mapping[str, Function],
    literal: Literal,
    most: int | None,
) -> list[str]:
    """Return the rule `calls`, of one call or up to `most`, and those that it needs; raises ApiError."""
    quoted = re.search(r"=(['\"])", shown.call)
    raw = isinstance(form.form, PythonForm) and form.form.raw
    made, names = _terminals(quoted[1] if quoted else "'", "" if raw else _ESCAPES), []
    for nth, (name, function) in enumerate(functions.items()):
        made += _Writer(form, shown, literal, name, function, f"c{nth}").rules()
        names.append(f"c{nth}")
    more = f"({_around(shown.between, literal)} call)*" if shown.between.strip() and most != 1 else ""
    made.append(f"call: {' | '.join(names)}")
    made.append(f"calls_behind: call {more} {_around(shown.behind.rstrip(), literal)}")
    made.append(f"calls: {_around(shown.before, literal)} calls_behind")
    return made


def _around(text: str, literal: Literal, name: str = "") -> str:
    """Return a text of the known call in a grammar, in which an id may be any, and the name is `name`."""
    pieces = re.split(r"(zcall\d000)", re.sub(r"zname\d", name, text) if name else text)
    written = [_ID if re.fullmatch(r"zcall\d000", piece) else literal(piece) for piece in pieces if piece]
    return " ".join(written)


@dataclass(frozen=True)
class _Writer:
    """The calls of one function."""

    form: CallForm
    shown: Shown
    literal: Literal
    name: str
    function: Function
    rule: str

    def rules(self) -> list[str]:
        if any(KNOWN[0] in text for text in (self.shown.before, self.shown.behind)):
            raise UnknownFormError("its chat template names the function outside of the call")
        form = self.form.form
        if isinstance(form, JsonForm):
            return [f"{self.rule}: {json_rule(self._object(form), lines=self._has_lines)}"]
        if isinstance(form, NamedForm):
            middle = self.shown.call[len(KNOWN[0]) :].partition("{")[0]
            given = json_rule(self._arguments(), lines=self._has_lines)
            return [f"{self.rule}: {self._text(self.name)} {self._text(middle)} {given}"]
        if isinstance(form, PythonForm):
            return self._chain(self._text(f"{self.name}("), "", self._text(f"{self.name}()"))
        assert isinstance(form, TaggedForm)
        if form.empty == form.first:
            raise UnknownFormError("its chat template ends a call without arguments as it begins others")
        first = self._text(self.name + form.first)
        return self._chain(first, form.first, self._text(self.name + form.empty))

    def _text(self, text: str) -> str:
        return _around(text, self.literal)

    @property
    def _has_lines(self) -> bool:
        """Whether the template writes a call's JSON in several lines."""
        return "\n" in self.shown.call[self.shown.call.find("{") :]

    def _refuse(self, key: str, keyword: str) -> ApiError:
        what = "this model writes calls in a form of its own, in which"
        place = self._place.within("properties", key)
        return place.refusal(f"{what} {keyword!r} cannot be enforced", keyword)

    @property
    def _place(self) -> Place:
        return Place(f"function '{self.name[:64]}'", f"tools[{self.function[0]}].function.parameters")

    @property
    def _strict(self) -> bool:
        return is_strict(self.function[1])

    def _arguments(self) -> Schema:
        """Return the schema of its arguments: as it is, or as much of it as can be enforced."""
        schema = parameters_of(self.function[1])
        if self._strict:
            return schema
        try:
            check_schema(schema, self._place, strict=False)
        except ApiError:
            return {"type": "object"}
        closed = {} if "additionalProperties" in schema or not schema.get("properties") else _CLOSED
        return {"type": "object", **schema, **closed}

    # JSON

    def _object(self, form: JsonForm) -> Schema:
        try:
            known, _ = read_object(self.shown.call, 0)
        except (IncompleteError, NoCallError):
            raise UnknownFormError("its chat template shows calls as what is no JSON") from None
        arguments = self._arguments()
        shared: Schema = {key: arguments[key] for key in ("$defs", "definitions") if key in arguments}
        if any(part == {"$ref": "#"} for part in _all(arguments)):
            raise self._place.refusal("'$ref' to '#' cannot be enforced in a call; name it in '$defs'", "$ref")
        if form.by_name:
            made = {"properties": {self.name: arguments}, "required": [self.name]}
        else:
            made = _like(known, form, (), self.name, arguments)
        return {"type": "object", **made, "additionalProperties": False, **shared}

    # Others

    def _chain(self, first: str, begin: str, empty: str) -> list[str]:
        """Return the rules of parameters one after the other, in their order; those not required may be left out."""
        schema = self._arguments()
        given = schema.get("properties")
        properties: Schema = given if isinstance(given, dict) else {}
        keys = list(properties)
        if len(keys) > _MOST_PARAMETERS:
            raise self._place.refusal(
                f"this model writes calls in a form of its own, of at most {_MOST_PARAMETERS} parameters", "properties"
            )
        needed = [key in schema.get("required", ()) for key in keys]
        made = []
        for nth, key in enumerate(keys):
            following = [self._next(at) for at in _reachable(needed, nth + 1)]
            last = not any(needed[nth + 1 :])
            made += self._parameter(nth, key, properties[key], following, last)
        starts = [f"{first} {self._next(at)}" for at in _reachable(needed, 0)]
        if not any(needed):
            starts.append(empty)
        return [*made, f"{self.rule}: {' | '.join(starts)}"]

    def _next(self, nth: int) -> str:
        return f"{self.rule}_{nth}"

    def _parameter(self, nth: int, key: str, schema: Any, following: list[str], last: bool) -> list[str]:
        rule, form = self._next(nth), self.form.form
        if isinstance(form, PythonForm):
            follows = [f'", " {each}' for each in following] + (['")"'] if last else [])
            return [f"{rule}: {self._text(key + '=')} {self._python(key, schema)} ({' | '.join(follows)})"]
        assert isinstance(form, TaggedForm)
        kind = 0 if _is_text(schema) else 1
        next_, end = (each[kind].replace("\0", key) for each in (form.nexts, form.ends))
        common = next_[: alike(next_, end)]  # whatever follows: a value that holds how it ends could not be read back
        shared = common if common or (following and last) else next_ if following else end
        opened = self._text(key + form.opens[kind])
        follows = [f"{self._text(next_[len(shared) :])} {each}" for each in following]
        follows += [self._text(end[len(shared) :]) or '""'] if last else []
        value = self._tagged(key, schema, kind, shared, rule)
        return [*value[1:], f"{rule}: {opened} {value[0]} ({' | '.join(follows)})"]

    def _tagged(self, key: str, schema: Any, kind: int, shared: str, rule: str) -> list[str]:
        """Return a value with what stands behind it in any case, and rules that it needs."""
        behind = self._text(shared)
        if kind == 1:
            return [f"{rule}_v {behind}", f"{rule}_v: {json_rule(self._with_definitions(schema))}"]
        if (choices := _choices(schema)) is not None:
            return [f"({' | '.join(self._text(each) for each in choices)}) {behind}"]
        self._check_shape(key, schema)
        begin = behind.partition(" <[")[0]
        if not shared or begin.startswith("<["):
            return [f"ANY {behind}" if shared else r"/[^<\n]{0,1000}/"]
        rest = shared[len(json.loads(begin)) :]
        return [f"{rule}_v {self._text(rest)}", f"{rule}_v[lazy]: ANY {begin}"]

    def _with_definitions(self, schema: Any) -> Schema:
        whole = self._arguments()
        shared: Schema = {key: whole[key] for key in ("$defs", "definitions") if key in whole}
        return {**shared, **schema} if isinstance(schema, dict) else {}

    def _python(self, key: str, schema: Any) -> str:
        schema = schema if isinstance(schema, dict) else {}
        self._check_shape(key, schema)
        values = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
        if values:
            return f"({' | '.join(self._text(repr(value)) for value in values)})"
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return f"({' | '.join(self._python(key, {**schema, 'type': kind}) for kind in kinds)})"
        if kinds == "array" and "items" in schema:
            item = self._python(key, schema["items"])
            return f'("[" ({item} (", " {item})*)? "]")'
        if kinds in ("object", "array") and self._strict:
            raise self._refuse(key, "type")
        return _PYTHON.get(str(kinds), "py_any")

    def _check_shape(self, key: str, schema: Schema) -> None:
        odd = next((keyword for keyword in schema if keyword not in _SHAPELESS), None)
        if self._strict and odd is not None:
            raise self._refuse(key, odd)


_CLOSED = {"additionalProperties": False}
_PYTHON = {
    "string": "PY_TEXT",
    "integer": "PY_WHOLE",
    "number": "PY_NUMBER",
    "boolean": "py_flag",
    "null": "py_none",
}


def _is_text(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "string"


def _choices(schema: Schema) -> list[str] | None:
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
    return [each for each in values if isinstance(each, str)] if values else None


def _reachable(needed: Sequence[bool], begin: int) -> list[int]:
    """Return which parameters may come next: up to the first that has to."""
    return list(itertools.takewhile(lambda at: not any(needed[begin:at]), range(begin, len(needed))))


def _all(schema: Any) -> list[Any]:
    if isinstance(schema, dict):
        return [schema, *(each for value in schema.values() for each in _all(value))]
    return [each for value in schema for each in _all(value)] if isinstance(schema, list) else []


def _like(known: Schema, form: JsonForm, path: tuple[str, ...], name: str, arguments: Schema) -> Schema:
    """Return a schema of an object like the known call's, with this name and these arguments."""
    made: dict[str, Any] = {}
    for key, value in known.items():
        at = (*path, key)
        if at == form.name:
            made[key] = {"const": name}
        elif at == form.arguments:
            if isinstance(value, str):
                raise UnknownFormError("its chat template writes arguments as JSON within a string")
            made[key] = arguments
        elif isinstance(value, dict):
            made[key] = {"type": "object", "additionalProperties": False, **_like(value, form, at, name, arguments)}
        elif isinstance(value, str) and value.startswith("zcall"):
            made[key] = {"type": "string", "pattern": "^[a-zA-Z0-9]{9}$"}
        else:
            made[key] = {"const": value}
    return {"properties": made, "required": list(made)}
