"""A directory becomes a base model; `temper models add` runs it."""

from __future__ import annotations

from contracts.function import Function

FUNCTION = Function(name="register_model", role=None)
