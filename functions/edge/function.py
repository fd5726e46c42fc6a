"""OpenAI's API over events and read models."""

from __future__ import annotations

from contracts.function import Function
from functions.edge.settings import EdgeSettings

FUNCTION = Function(name="edge", role="edge", settings=EdgeSettings)
