"""What an event is signed with and how; secrets of ingest keys derive from the signing key, so that none is stored."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from contracts.canonical import compact

Headers = Sequence[tuple[str, bytes]]


def signature(key: bytes, topic: str, subject: str, headers: Headers, payload: bytes) -> str:
    """Return the hex HMAC-SHA256 over topic, key, sorted `ce_*` headers (without `ce_sig`) and body."""
    mac = hmac.new(key, digestmod=hashlib.sha256)
    parts: list[bytes] = [topic.encode(), subject.encode()]
    for name, value in sorted(headers):
        if name.startswith("ce_") and name != "ce_sig":
            parts += [name.encode(), value]
    for part in (*parts, payload):
        mac.update(len(part).to_bytes(8, "big"))
        mac.update(part)
    return mac.hexdigest()


def ingest_secret(signing_key: bytes, tenant: str, key_id: str) -> bytes:
    """Return the secret of an ingest key, derived so that none has to be stored."""
    return hmac.new(signing_key, compact(["ingest", tenant, key_id]), hashlib.sha256).hexdigest().encode()
