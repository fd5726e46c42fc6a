"""Old payloads become new ones on read; the log itself is never rewritten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Upcast = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTS: dict[tuple[str, int], Upcast] = {}
"""(topic, version) → the step from that version to the next."""


def upcast(topic: str, version: int, payload: dict[str, Any]) -> dict[str, Any]:
    """Return `payload` of `topic` lifted from `version` to the newest one, step by step."""
    while (step := UPCASTS.get((topic, version))) is not None:
        payload, version = step(payload), version + 1
    return payload
