"""From which other sites browsers may call the API."""

from __future__ import annotations

import re

from pydantic import field_validator

from contracts.function import FunctionSettings

_ORIGIN = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


class EdgeSettings(FunctionSettings):
    """Cross-origin requests."""

    cors_origins: str = ""
    """Origins whose pages may call the API from a browser, `https://app.example.com,http://localhost:3000`; `*`:
    those of every site; none: no other site's."""

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
