"""Pausing, resuming and cancelling of jobs."""

from __future__ import annotations

from contracts.function import Function, Reaction
from functions.control_job import handler

FUNCTION = Function(name="control_job", role="worker", reactions=(Reaction(handler.TOPICS, handler.on_job),))
