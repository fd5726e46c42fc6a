"""Reading untrusted JSON and form fields, with OpenAI's wording of what is wrong. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from contracts.events.jobs import PRINTABLE
from contracts.wire.errors import ApiError, missing

MAX_DEPTH = 64
_NUMBER_DIGITS = 400
_NAMES = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
}
_UNSAFE = re.compile("[\x00\ud800-\udfff]")


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`; strings are whole Unicode without NUL, numbers are finite."""
    value = parse_json(body)
    check_strings(value)
    return value


def parse_json(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body` without looking into its strings."""
    try:
        value = json.loads(
            body.decode("utf-8-sig"), parse_constant=_refuse, parse_int=_whole, object_pairs_hook=_unique
        )
    except RecursionError:
        raise _unparsable(f"objects and arrays are nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:  # UnicodeDecodeError is one too
        raise _unparsable(str(error)) from error
    if not isinstance(value, dict):
        raise _unparsable("the body is not a JSON object")
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _deep(value):  # most bodies have fewer in all
        raise _unparsable(f"objects and arrays are nested deeper than {MAX_DEPTH}")
    return value


def _deep(value: dict[str, Any]) -> bool:
    """Return whether `value` is nested deeper than MAX_DEPTH; without recursion, whose limit is what it guards."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [one for each in inner for one in each if isinstance(one, dict | list)]
    return bool(level)


def _unparsable(reason: str) -> ApiError:
    return ApiError(f"We could not parse the JSON body of your request: {reason}.", code="invalid_json")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _whole(text: str) -> int:
    if len(text) > _NUMBER_DIGITS:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {twice[:64]!r} stands twice in one object")
    return found


def check_strings(value: Any, path: str = "") -> None:
    """Refuse lone surrogates, NUL characters and infinite numbers, naming where they are."""
    if isinstance(value, str):
        if _UNSAFE.search(value):
            where = _shown(path) or "body"
            raise ApiError(
                f"Invalid '{where}': the string holds a NUL character or half of a surrogate pair.",
                param=where,
                code="invalid_string",
            )
    elif isinstance(value, float):
        if value in (float("inf"), float("-inf")):
            raise ApiError(
                f"Invalid '{_shown(path)}': the number is too large.", param=_shown(path), code="invalid_value"
            )
    elif isinstance(value, dict):
        for name, each in value.items():
            check_strings(name, path)
            check_strings(each, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            check_strings(each, f"{path}[{index}]")


def _shown(path: str) -> str:
    return _UNSAFE.sub("?", path)[:200]


class Fields:
    """An object whose fields are read one by one; each reader returns None (or `default`) where nothing was given."""

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self._values = values
        self._path = path

    def param(self, name: str) -> str:
        """Return the field's full name, as errors show it."""
        return f"{self._path}.{name}" if self._path else name

    def given(self, name: str) -> Any:
        """Return the raw value, or None."""
        return self._values.get(name)

    def text(self, name: str, longest: int, line: bool = False) -> str | None:
        """Return a string of at most `longest` characters; of a `line` none is a control character."""
        value = self.given(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._type(name, "a string", value)
        if len(value) > longest:
            raise self.long(name, value, longest)
        if line and not re.fullmatch(PRINTABLE, value):
            raise self._bad(name, "the string holds control characters, such as a line break", "invalid_string")
        return value

    def required(self, name: str, longest: int, line: bool = False) -> str:
        """Return a string that must be there and not be empty."""
        value = self.text(name, longest, line)
        if value is None:
            raise missing(self.param(name))
        if not value:
            raise self._bad(name, "empty string. Expected a string with minimum length 1", "empty_string")
        return value

    def whole(self, name: str, low: int, high: int, auto: bool = False) -> int | None:
        """Return an integer from `low` to `high`; with `auto`, the word auto is as good as nothing."""
        value = self.given(name)
        if value is None or (auto and value == "auto"):
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._type(name, "'auto' or an integer" if auto else "an integer", value)
        self._range(name, value, low, high, "integer")
        return value

    def positive(self, name: str, most: float, auto: bool = False) -> float | None:
        """Return a number above 0 and at most `most`."""
        value = self.given(name)
        if value is None or (auto and value == "auto"):
            return None
        number = self._number(name, value, "'auto' or a number" if auto else "a number")
        if number <= 0:
            what = f"decimal below minimum value. Expected a value > 0, but got {value} instead"
            raise self._bad(name, what, "decimal_below_min_value")
        self._range(name, number, 0, most, "decimal")
        return number

    def number(self, name: str, low: float, below: float) -> float | None:
        """Return a number from `low` to less than `below`."""
        value = self.given(name)
        if value is None:
            return None
        number = self._number(name, value, "a number")
        self._range(name, number, low, below, "decimal")
        if number == below:
            what = f"decimal above maximum value. Expected a value < {below}, but got {value} instead"
            raise self._bad(name, what, "decimal_above_max_value")
        return number

    def choice(self, name: str, options: Sequence[str]) -> str | None:
        """Return one of `options`."""
        value = self.given(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._type(name, "a string", value)
        if value not in options:
            raise invalid_value(self.param(name), value, options)
        return value

    def object(self, name: str) -> Fields | None:
        """Return a nested object."""
        value = self.given(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._type(name, "an object", value)
        return Fields(value, self.param(name))

    def strings(self, name: str, most: int, longest_key: int, longest_value: int) -> dict[str, str]:
        """Return an object of strings, such as `metadata`."""
        found = self.object(name)
        if found is None:
            return {}
        values = found._values  # noqa: SLF001 - the same class
        if len(values) > most:
            what = f"too many properties. Expected an object with at most {most} properties, but got {len(values)}"
            raise self._bad(name, f"{what} properties instead", "object_above_max_properties")
        for key in values:
            if len(key) > longest_key:
                raise self.long(name, key, longest_key)
            if found.text(key, longest_value) is None:
                raise found._type(key, "a string", None)  # noqa: SLF001
        return dict(values)

    def shares(self, name: str, known: Sequence[str]) -> dict[str, float]:
        """Return an object of numbers from 0 to 1 under names that are all among `known`."""
        found = self.object(name)
        if found is None:
            return {}
        shares = {}
        for key, value in found._values.items():  # noqa: SLF001 - the same class
            if key not in known:
                raise invalid_value(self.param(name), key, known)
            shares[key] = found._number(key, value, "a number")  # noqa: SLF001
            found._range(key, shares[key], 0, 1, "decimal")  # noqa: SLF001
        return shares

    def long(self, name: str, value: str, longest: int) -> ApiError:
        """Return the refusal of a string that is too long."""
        what = f"string too long. Expected a string with maximum length {longest}, but got a string with length "
        return self._bad(name, f"{what}{len(value)} instead", "string_above_max_length")

    def _number(self, name: str, value: Any, expected: str) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._type(name, expected, value)
        try:
            return float(value)
        except OverflowError:
            raise self._bad(name, "the number is too large", "invalid_value") from None

    def _range(self, name: str, value: float, low: float, high: float, kind: str) -> None:
        if value < low:
            what = f"{kind} below minimum value. Expected a value >= {low}, but got {value} instead"
            raise self._bad(name, what, f"{kind}_below_min_value")
        if value > high:
            what = f"{kind} above maximum value. Expected a value <= {high}, but got {value} instead"
            raise self._bad(name, what, f"{kind}_above_max_value")

    def _bad(self, name: str, what: str, code: str) -> ApiError:
        return ApiError(f"Invalid '{self.param(name)}': {what}.", param=self.param(name), code=code)

    def _type(self, name: str, expected: str, value: Any) -> ApiError:
        got = _NAMES.get(type(value), "null")
        message = f"Invalid type for '{self.param(name)}': expected {expected}, but got {got} instead."
        return ApiError(message, param=self.param(name), code="invalid_type")


def invalid_value(param: str, value: str, options: Sequence[str]) -> ApiError:
    """Return the refusal of a value that is none of `options`, which it lists."""
    known = ", ".join(f"'{option}'" for option in options)
    return ApiError(f"Invalid value: '{value[:64]}'. Supported values are: {known}.", param=param, code="invalid_value")
