"""API keys and ingest keys."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contracts.bounds import Hash, Title
from contracts.events import Payload
from contracts.wire.dialects import Dialect

ADDRESS = r"^[^@\s\x00-\x20\x7f<>()\[\],;:\\\"]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$"
"""An e-mail address of one person, without a name, quotes or anything that a header could be made of."""


class KeyCreated(Payload):
    """A key may be used from now on; only its hash is known."""

    sha256: Hash
    """Of the whole key (for an ingest key: of its id)."""
    hint: str = Field(max_length=16)
    """The last characters, to tell keys apart."""
    kind: Literal["api", "ingest"] = "api"
    name: Title = ""
    email: str | None = Field(default=None, max_length=254, pattern=ADDRESS)
    """Where its jobs' ends are told."""
    dialect: Dialect = "openai"
    """Whose shapes the answers to it have."""


class KeyRevoked(Payload):
    """The key no longer works."""

    sha256: Hash
