"""Runs in MLflow."""

from __future__ import annotations

from contracts.function import Function, Reaction
from functions.track_runs import core, handler

FUNCTION = Function(
    name="track_runs",
    role="worker",
    reactions=(Reaction(core.TOPICS, handler.on_event),),
    deadline=240.0,  # a report with its pictures may go over a slow line
    optional=True,
)
