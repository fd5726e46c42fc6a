"""Settings of the edge: who may call it from a browser, how long uploads may take, how long completions are kept."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from contracts.function import FunctionSettings

_ORIGIN = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


class EdgeSettings(FunctionSettings):
    """What the edge decides for everybody."""

    cors_origins: str = ""
    """Origins whose pages may call the API from a browser, `https://app.example.com,http://localhost:3000`; `*`:
    those of every site; none: no other site's."""
    stored_days: int = Field(default=30, ge=1, le=366)
    """For how many days responses and chats that are stored on request (`store`) are kept."""

    upload_seconds: int = Field(default=3600, ge=60, le=7 * 24 * 3600)
    """How long an upload by parts may take from its creation to its completion; then its parts go."""

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, text: str) -> str:
        origins = _split(text)
        if origins != ("*",) and not all(map(_ORIGIN.fullmatch, origins)):
            raise ValueError("expected `*`, or http(s)://host[:port] with commas between, without a path")
        return text

    @property
    def origins(self) -> tuple[str, ...]:
        """Each origin as browsers say it."""
        return tuple(origin.lower() for origin in _split(self.cors_origins))


def _split(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (each.strip().removesuffix("/") for each in text.split(","))))
