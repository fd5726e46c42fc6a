"""How jobs are prepared."""

from __future__ import annotations

from functions._shared.settings import PrecisionSettings, WaitSettings


class PrepareSettings(WaitSettings, PrecisionSettings):
    """How long a job waits for what it needs, and in which precision its training is measured."""
