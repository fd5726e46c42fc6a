"""Untrusted JSON: whole Unicode, finite numbers, names that stand once, and bounds of what parsing it costs."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from contracts.wire.chat import MAX_DEPTH, too_deep
from contracts.wire.errors import ApiError

_NUMBER_LENGTH = 401
"""Letters of a whole number, its sign included."""
_UNSAFE = re.compile("[\x00\ud800-\udfff]")


def parse(body: bytes, deepest: bool = True) -> dict[str, Any]:
    """Return the JSON object in `body` without looking into its strings; raises ApiError.

    Its own nesting is bounded at MAX_DEPTH, or else by what Python can read.
    """
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse, parse_int=_whole, object_pairs_hook=unique)
    except RecursionError:
        raise _unparsable(f"objects and arrays are nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:  # UnicodeDecodeError is one too
        raise _unparsable(_without_json(body) or str(error)) from error
    if not isinstance(value, dict):
        raise _unparsable("the body is not a JSON object")
    if deepest and body.count(b"{") + body.count(b"[") > MAX_DEPTH and too_deep(value):  # most bodies have fewer in all
        raise _unparsable(f"objects and arrays are nested deeper than {MAX_DEPTH}")
    return value


def _without_json(body: bytes) -> str | None:
    if not body.strip():
        return "the body is empty"
    return "it is packed by gzip, send it as it is" if body.startswith(b"\x1f\x8b") else None


def _unparsable(reason: str) -> ApiError:
    return ApiError(f"We could not parse the JSON body of your request: {reason}.", code="invalid_json")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _whole(text: str) -> int:
    if len(text) > _NUMBER_LENGTH:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)


class RepeatedNameError(ValueError):
    """A name that stands twice in one object: readers would take one of its values, and not all of them the same."""


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of its names and values; raises RepeatedNameError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise RepeatedNameError(f"the name {twice[:64]!r} stands twice in one object")
    return found


def escapes(body: bytes | bytearray) -> bool:
    """Return whether a body may hold half of a surrogate pair, which only an escape can say."""
    return b"\\ud" in body or b"\\uD" in body


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
