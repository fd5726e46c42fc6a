"""Old payloads become new ones on read; the log itself is never rewritten."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

Upcast = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTS: dict[tuple[str, int], Upcast] = {}
"""(topic, version) → the step from that version to the next."""


def upcast(topic: str, version: int, payload: dict[str, Any]) -> dict[str, Any]:
    """Return `payload` of `topic` lifted from `version` to the newest one, step by step."""
    while (step := UPCASTS.get((topic, version))) is not None:
        payload, version = step(payload), version + 1
    return payload


_BOUNDS = ("ge", "le", "max_length")


def at_bounds(payload: dict[str, Any], error: ValidationError) -> dict[str, Any]:
    """Return `payload` with each value that `error` says is beyond a bound at that bound."""
    mended = copy.deepcopy(payload)
    for each in error.errors(include_url=False, include_input=False):
        bound = next((each["ctx"][name] for name in _BOUNDS if name in each.get("ctx", {})), None)
        holder: Any = None
        value: Any = mended
        for part in each["loc"]:
            inside = part in value if isinstance(value, dict) else isinstance(value, list) and isinstance(part, int)
            if inside:  # other parts name the branch of a union
                holder, place, value = value, part, value[part]
        if bound is not None and holder is not None:
            holder[place] = _cut(value, bound)
    return mended


def _cut(value: Any, bound: Any) -> Any:
    if isinstance(value, dict):
        return dict(list(value.items())[:bound])
    return value[:bound] if isinstance(value, str | list) else bound
