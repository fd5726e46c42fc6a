"""Settings of batches."""

from __future__ import annotations

from pydantic import Field

from contracts.function import FunctionSettings


class BatchSettings(FunctionSettings):
    """How much of the serving process batches take."""

    batch_concurrency: int = Field(default=4, ge=1, le=256)
    """Requests of one batch that are asked at the same time. They have half the priority of what somebody waits for."""
