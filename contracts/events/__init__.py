"""Event payloads: one frozen class per topic."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Payload(BaseModel):
    """What an event says; unknown fields of newer publishers are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
