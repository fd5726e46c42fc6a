"""The one error of the API, at the edge and in serving, and pydantic's errors in OpenAI's words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from contracts.events.jobs import PRINTABLE, SUFFIX
from contracts.wire import openai

_SHOWN = 64
"""Characters of what was sent that an answer repeats."""
_TAG = re.compile(r"constrained-|literal\[|\[key\]")
"""What pydantic adds to a place: the member of a union, or that a name is meant."""
_KINDS = {
    "string": "a string",
    "str": "a string",
    "bool": "a boolean",
    "int": "an integer",
    "float": "a decimal",
    "tuple": "an array",
    "list": "an array",
    "dict": "an object",
    "model": "an object",
    "NoneType": "null",
}
"""What a pydantic error expects, or Python's class of what came → what JSON calls it."""
_WORDS = {
    "missing": ("missing_required_parameter", "Missing required parameter: '{param}'."),
    "literal_error": ("invalid_value", "Invalid value: {value}. Supported values are: {expected}."),
    "string_too_long": (
        "string_above_max_length",
        "Invalid '{param}': string too long. Expected a string with maximum length {max_length}.",
    ),
    "string_too_short": (
        "empty_string",
        "Invalid '{param}': empty string. Expected a string with minimum length {min_length}.",
    ),
    "too_short": ("empty_array", "Invalid '{param}': too few items. Expected at least {min_length}."),
    "extra_forbidden": ("unknown_parameter", "Unknown parameter: '{param}'."),
    "finite_number": ("invalid_type", "Invalid '{param}': expected a finite number."),
    "string_pattern_mismatch": ("invalid_value", "Invalid '{param}': {value} does not look as {pattern} says."),
    PRINTABLE: ("invalid_string", "Invalid '{param}': the string holds control characters, such as a line break."),
    SUFFIX: (
        "invalid_value",
        "Invalid '{param}': it becomes part of the model's name, so it may not begin with a space nor hold control "
        "characters or any of : / ? # % \\.",
    ),
}
"""Type of one of pydantic's errors, or the pattern that does not match → code and sentence."""
_BOUNDS = {"ge": (">=", "below_min"), "gt": (">", "below_min"), "le": ("<=", "above_max"), "lt": ("<", "above_max")}


class ApiError(Exception):
    """A request that is answered with an error; `message` is a sentence that says what to do."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        type: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code
        self.type = type or ("invalid_request_error" if status < 500 else "server_error")
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the answer's body."""
        return openai.error(self.message, self.type, self.param, self.code)


def missing(param: str) -> ApiError:
    """A required parameter is absent."""
    return ApiError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def unsupported(what: str, param: str) -> ApiError:
    """OpenAI has this; Temper does not serve it yet."""
    return ApiError(f"{what} not supported yet.", param=param, code="unsupported")


def invalid_value(param: str, value: str, options: Sequence[str]) -> ApiError:
    """The value is none of `options`."""
    known = ", ".join(f"'{option}'" for option in options)
    return ApiError(f"Invalid value: {shown(value)}. Supported values are: {known}.", param=param, code="invalid_value")


def refuse(code: str, message: str, within: str = "") -> PydanticCustomError:
    """Return what a validator raises for a code and a sentence of its own, in which `{param}` is where it is.

    `within` names a field of the object that the validator looks at.
    """
    return PydanticCustomError("refused", "{message}", {"code": code, "message": message, "within": within})


def refusal(error: ValidationError) -> ApiError:
    """Return the first thing wrong in OpenAI's words."""
    wrong = error.errors(include_url=False)[0]
    param = _param(wrong)
    code, message = _told(wrong, param)
    return ApiError(message, param=param or None, code=code)


def _param(wrong: ErrorDetails) -> str:
    """Return where it is as OpenAI writes it: `messages[0].content`."""
    places = list(wrong["loc"])
    if len(places) > 2 and places[-1] == "[key]":  # the object is meant whose name it is
        places = places[:-2]
    if within := wrong.get("ctx", {}).get("within"):
        places.append(within)
    param = ""
    for place in places:
        if isinstance(place, int):
            param += f"[{place}]"
        elif not _TAG.match(place):
            param += "." * bool(param) + re.sub(r"\[(\w+)\]", r".\1", place[:_SHOWN])  # forms: expires_after[seconds]
    return param


def _told(wrong: ErrorDetails, param: str) -> tuple[str, str]:
    """Return code and sentence."""
    value, said = wrong["input"], wrong.get("ctx", {})
    if wrong["type"] == "refused":
        return said["code"], said["message"].replace("{param}", param)
    for name, (sign, side) in _BOUNDS.items():
        if name in said:
            return _beyond(param, value, sign, side, said[name])
    if known := _WORDS.get(said.get("pattern", "")) or _WORDS.get(wrong["type"]):
        code, sentence = known
        return code, sentence.format(**said, param=param, value=shown(value))
    kind = wrong["type"].partition("_")[0]
    if kind == "float" and type(value) is int:
        return "invalid_value", f"Invalid '{param}': the number is too large."
    if not param:
        return "invalid_type", "The body must be a JSON object."
    expected = "'auto' or " * any(str(place).startswith("constrained-") for place in wrong["loc"])
    expected += _KINDS.get(kind, "nothing")
    got = _KINDS.get(type(value).__name__, "something else")
    return "invalid_type", f"Invalid type for '{param}': expected {expected}, but got {got} instead."


def _beyond(param: str, value: object, sign: str, side: str, limit: float) -> tuple[str, str]:
    kind, bound = ("decimal", f"{limit:g}") if isinstance(limit, float) else ("integer", str(limit))
    words = side.replace("_", " ").replace("min", "minimum").replace("max", "maximum")
    sentence = f"{kind} {words} value. Expected a value {sign} {bound}, but got {shown(value)} instead."
    return f"{kind}_{side}_value", f"Invalid '{param}': {sentence}"


def shown(value: object) -> str:
    """Return a short text for an answer, whatever came."""
    if isinstance(value, dict | list | tuple):
        return _KINDS[type(value).__name__]
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
