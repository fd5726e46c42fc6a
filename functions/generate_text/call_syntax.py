"""What a call of a tool is in the text of an answer: its parts, JSON within text, and what is no call. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

_DECODER = json.JSONDecoder()


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


def read_object(text: str, at: int) -> tuple[dict[str, Any], int]:
    """Return the JSON object at `at` and where it ends; raises IncompleteError or NoCallError."""
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


def check_name(name: Any) -> None:
    """Raise NoCallError where no function is called so."""
    if not isinstance(name, str) or not re.fullmatch(r"[^\s<>{}\[\]()\"']{1,256}", name):
        raise NoCallError


def made_call(name: Any, arguments: Any) -> Call:
    """Return a call of what was read; raises NoCallError."""
    check_name(name)
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
