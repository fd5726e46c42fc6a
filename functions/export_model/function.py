"""A model is taken away: `temper models export` runs it."""

from __future__ import annotations

from contracts.function import Function

FUNCTION = Function(name="export_model", role=None)
