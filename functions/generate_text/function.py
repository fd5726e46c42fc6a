"""Answers of base and tuned models."""

from __future__ import annotations

from contracts.function import Function

FUNCTION = Function(name="generate_text", role="serving")
