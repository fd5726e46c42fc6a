"""Completions as they are kept, within their bound. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from contracts.events.completions import MOST_BYTES


def content_key(tenant: str, id: str) -> str:
    """Return where what is kept of a completion lies."""
    return f"{tenant}/{id}/content"


def encoded(content: Mapping[str, Any]) -> bytes:
    """Return what is kept of a completion, without log-probabilities where it would be too large."""
    body = msgspec.json.encode(content)
    return body if len(body) <= MOST_BYTES else msgspec.json.encode(without_logprobs(content))


def without_logprobs(value: Any) -> Any:
    """Return a completion whose log-probabilities are empty."""
    if isinstance(value, Mapping):
        bare: dict[str, Any] = {
            name: [] if isinstance(each, list) else None for name, each in value.items() if name == "logprobs"
        }
        return {name: without_logprobs(each) for name, each in value.items()} | bare
    return [*map(without_logprobs, value)] if isinstance(value, list) else value
