"""How jobs are trained."""

from __future__ import annotations

from functions._shared.settings import PrecisionSettings


class TrainSettings(PrecisionSettings):
    """What a trainer is asked to care for."""

    deterministic: bool = False
    """Train so that a resumed run ends bit-equal to an unbroken one (slower)."""
