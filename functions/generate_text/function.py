"""Answers of base and tuned models."""

from __future__ import annotations

from contracts.function import Function
from functions._shared.settings import PrecisionSettings

FUNCTION = Function(name="generate_text", role="serving", settings=PrecisionSettings)
