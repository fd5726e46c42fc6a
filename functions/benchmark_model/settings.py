"""What is asked of tuned models, and who judges."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from functions._shared.settings import GeneralSettings


class BenchmarkSettings(GeneralSettings):
    """The suite that follows every job, the judge, the public benchmarks."""

    benchmarks: Literal["default", "none"] = "default"
    """What is asked of a tuned model and its base once a job has succeeded."""
    benchmark_items: int = Field(default=60, ge=1, le=10_000)
    """Most questions of each task of the default benchmark."""
    bundle: Path | None = None
    """Folder with public benchmarks (`temper bundle check` says what is in it)."""
    judge_url: str | None = None
    """`http(s)://host[:port]/v1` of the OpenAI-compatible endpoint that judges answers; none: rules score them."""
    judge_model: str = ""
    """The model that the endpoint is asked for."""
    judge_key: SecretStr | None = None
    """The endpoint's API key."""
    judge_seconds: float = Field(default=120.0, gt=0)
    """How long the judge may take for an answer."""
