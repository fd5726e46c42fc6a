"""Settings that several functions have."""

from __future__ import annotations

from pydantic import Field

from contracts.function import FunctionSettings


class TargetSettings(FunctionSettings):
    """The model that documents are made into rows for."""

    target_model: str = "temper-demo-1m"
    """The base model in whose tokens documents are cut into chunks."""


class GeneralSettings(FunctionSettings):
    """Rows that are no tenant's own."""

    general_file: str | None = None
    """Id of an uploaded chat file whose rows are mixed into every data set, against forgetting, and asked after it."""


class WaitSettings(FunctionSettings):
    """How patient joins are."""

    file_wait_seconds: float = Field(default=300.0, ge=0)
    """How long a job waits for a file or a base model that nobody has heard of, before it fails."""
