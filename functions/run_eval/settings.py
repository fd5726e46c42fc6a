"""Settings of runs of evals."""

from __future__ import annotations

from pydantic import Field

from contracts.function import FunctionSettings


class EvalSettings(FunctionSettings):
    """How much of the serving process runs take."""

    eval_concurrency: int = Field(default=4, ge=1, le=256)
    """Rows of one run of an eval that are answered and graded at the same time, at the priority of batches."""
