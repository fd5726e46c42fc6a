"""Erasure of what was made of deleted files."""

from __future__ import annotations

from contracts.function import Function, Reaction
from functions.erase_content import core, handler

FUNCTION = Function(name="erase_content", role="worker", reactions=(Reaction(core.TOPICS, handler.on_event),))
