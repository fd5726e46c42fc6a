"""What a blob's key may look like: the same for every store, and never a way out of a folder."""

from __future__ import annotations


def checked(key: str) -> str:
    """Return `key`, or raise ValueError when it is no `{tenant}/{subject}/…` key."""
    parts = key.split("/")
    if len(key.encode()) > 1024 or len(parts) < 2 or any(part in ("", ".", "..") for part in parts) or "\0" in key:
        raise ValueError(f"{key[:80]!r} is no blob key; keys are {{tenant}}/{{subject}}/…")
    return key
