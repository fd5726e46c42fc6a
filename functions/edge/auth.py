"""API keys: how they look, and whose request it is."""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from contracts.ports import Documents
from functions.edge.refusals import bad_key

PREFIX = "tmp-"
RANDOM_BYTES = 21  # 168 bits
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET, _CHECK = 29, 6  # base62 digits of 168 and of 32 bits
_SHAPE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_SECRET + _CHECK}}}")


def _base62(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
    return digits


def encode_key(random: bytes) -> str:
    """Return the key made of 21 random bytes: prefix, 29 base62 digits, 6 digits of CRC-32 over both."""
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"a key is made of {RANDOM_BYTES} random bytes, not of {len(random)}")
    start = PREFIX + _base62(int.from_bytes(random, "big"), _SECRET)
    return start + _base62(zlib.crc32(start.encode()), _CHECK)


def well_formed(key: str) -> bool:
    """Return whether `key` has the shape and the checksum of a key; a typo costs no look-up."""
    if not _SHAPE.fullmatch(key):
        return False
    return key[-_CHECK:] == _base62(zlib.crc32(key[:-_CHECK].encode()), _CHECK)


def key_hash(key: str) -> str:
    """Return what is stored of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def presented(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the key in `Authorization: Bearer` or `api-key`; raises ApiError when there is none."""
    found = ""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, credentials = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer":
                return credentials.strip()
        elif name == b"api-key":
            found = value.decode("latin-1").strip()
    if not found:
        raise bad_key(
            "You didn't provide an API key. Provide it in an Authorization header using Bearer auth "
            "(Authorization: Bearer YOUR_KEY)."
        )
    return found


async def authenticate(headers: Iterable[tuple[bytes, bytes]], documents: Documents) -> Mapping[str, Any]:
    """Return the view of the key that came with the request; raises ApiError (401)."""
    key = presented(headers)
    if not well_formed(key):
        raise bad_key("Incorrect API key provided: it is malformed. Make one with `temper keys create`.")
    digest = key_hash(key)
    view = await documents.get("keys", digest)
    if view is None or view["kind"] != "api" or not hmac.compare_digest(view["sha256"], digest):
        raise bad_key("Incorrect API key provided: it is unknown. Make one with `temper keys create`.")
    if view["revoked_at"] is not None:
        raise bad_key("Incorrect API key provided: it was revoked. Make one with `temper keys create`.")
    return view
