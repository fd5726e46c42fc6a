"""How jobs are trained."""

from __future__ import annotations

from contracts.function import FunctionSettings


class TrainSettings(FunctionSettings):
    """What a trainer is asked to care for."""

    deterministic: bool = False
    """Train so that a resumed run ends bit-equal to an unbroken one (slower)."""
