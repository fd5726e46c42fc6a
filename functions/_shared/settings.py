"""Settings that several functions have."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from contracts.function import FunctionSettings
from contracts.ports import Documents, UnavailableError


class TargetSettings(FunctionSettings):
    """The model that documents are made into rows for."""

    target_model: str = "temper-demo-1m"
    """The base model in whose tokens documents are cut into chunks."""


class GeneralSettings(FunctionSettings):
    """Rows that are no tenant's own."""

    general_file: str | None = None
    """Id of an uploaded chat file whose rows are mixed into every data set, against forgetting, and asked after it."""


class PrecisionSettings(FunctionSettings):
    """How exact the numbers are with which is computed."""

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto`, `float32` or `bfloat16`. `auto` trains in bfloat16 on a GPU and in float32 on a processor, where it also
    serves in float32, whose answers do not depend on the batch. `bfloat16` trains and serves in it anywhere; a
    processor gains by it where it has AMX, and loses where it has AVX-512-BF16 alone (decision 33)."""


class WaitSettings(FunctionSettings):
    """How patient joins are."""

    file_wait_seconds: float = Field(default=300.0, ge=0)
    """How long a job waits for a file or a base model that nobody has heard of, before it fails."""


async def asked_of(documents: Documents, archive: str) -> dict[str, Any]:
    """Return what the request for an archive's data set said, without what it left to the server's settings.

    Raises UnavailableError until the archive is known: its birth may be read later than what came of it.
    """
    found = await documents.get("archives", archive)
    if found is None:
        raise UnavailableError("archives", f"the file {archive} is not known yet")
    asked = found["uploaded"].get("dataset") or {}
    return {name: value for name, value in asked.items() if value is not None}
