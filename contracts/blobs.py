"""References to bytes: events carry these instead of content."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class BlobRef(BaseModel):
    """Bytes in the blob store, named by key and pinned by hash."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    """`{tenant}/{subject}/…`"""
    sha256: str
    """64 hex digits over the content."""
    bytes: int
    """Length of the content."""
    media_type: str = "application/octet-stream"
