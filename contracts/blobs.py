"""References to bytes: events carry these instead of content."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from contracts.bounds import Count, Hash, Key


class BlobRef(BaseModel):
    """Bytes in the blob store, named by key and pinned by hash."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: Key
    """`{tenant}/{subject}/…`"""
    sha256: Hash
    """64 hex digits over the content."""
    bytes: Count
    """Length of the content."""
    media_type: str = Field(default="application/octet-stream", max_length=255)
