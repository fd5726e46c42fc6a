"""Settings of responses in the background."""

from __future__ import annotations

from pydantic import Field

from contracts.function import FunctionSettings


class BackgroundSettings(FunctionSettings):
    """How much of the serving process responses in the background take."""

    background_concurrency: int = Field(default=4, ge=1, le=256)
    """Responses in the background of one tenant that a worker answers at the same time, at the priority of batches."""
