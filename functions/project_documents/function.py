"""Folding of the log into the read models: it reads every topic by offsets of its own, with no consumer group."""

from __future__ import annotations

from contracts.function import Function

FUNCTION = Function(name="project_documents", role="worker")
