"""OpenAI's API over events and read models."""

from __future__ import annotations

from contracts.function import Function

FUNCTION = Function(name="edge", role="edge")
