"""What is held out of training, and how much is asked."""

from __future__ import annotations

from pydantic import Field

from contracts.function import FunctionSettings


class PlanSettings(FunctionSettings):
    """The shares of an archive."""

    held_out: float = Field(default=0.1, ge=0, le=0.9)
    """Share of an archive's documents or sections that training never sees."""
    rows_per_chunk: int = Field(default=3, ge=1, le=50)
    """Questions asked of a chunk of usual length."""
