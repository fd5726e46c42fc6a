"""Batches as asked for and as served, and the lines of their files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from contracts.events import batches
from contracts.wire import openai
from contracts.wire.asked import PASSED_ON
from contracts.wire.errors import refuse
from contracts.wire.request import Request
from contracts.wire.uploads import ExpiresAfter

PURPOSE = "batch"
OUTPUT = "batch_output"
"""The purpose of the files of answers."""
MAX_LINES = 50_000
MAX_BYTES = 200 * 2**20
WINDOW = 24 * 3600
"""Seconds in which a batch is answered, or expires."""


def _served(endpoint: Any) -> Any:
    if isinstance(endpoint, str) and endpoint not in PASSED_ON:
        known = ", ".join(f"'{path}'" for path in PASSED_ON)
        raise refuse("unsupported", f"Batches of '{endpoint[:64]}' are not supported. Supported values are: {known}.")
    return endpoint


class BatchRequest(Request):
    """POST /batches."""

    input_file_id: str = Field(min_length=1, max_length=128)
    endpoint: Annotated[str, BeforeValidator(_served)]
    completion_window: Literal["24h"]
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] = Field(
        default_factory=dict, max_length=16
    )
    output_expires_after: ExpiresAfter | None = None

    def event(self) -> batches.BatchCreated:
        """Return what the request asks for."""
        expires = self.output_expires_after
        return batches.BatchCreated(
            input_file=self.input_file_id,
            endpoint=self.endpoint,
            metadata=self.metadata,
            expires_after=expires.seconds if expires else None,
        )


def batch(view: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Batch."""
    created, ended = view["created"], view["ended"] or {}
    finished = openai.seconds(view["finished_at"])
    errors = [dict(each) for each in ended.get("errors", ())]
    return {
        "id": view["id"],
        "object": "batch",
        "endpoint": created["endpoint"],
        "model": view["model"],
        "errors": {"object": "list", "data": errors} if errors else None,
        "input_file_id": view["input_file"],
        "completion_window": "24h",
        "status": view["status"],
        "output_file_id": ended.get("output_file"),
        "error_file_id": ended.get("error_file"),
        "created_at": openai.seconds(view["created_at"]),
        "in_progress_at": openai.seconds(view["in_progress_at"]),
        "expires_at": view["created_at"] // 1000 + WINDOW,
        "finalizing_at": openai.seconds(view["finalizing_at"]),
        "cancelling_at": openai.seconds(view["cancelling_at"]),
        **{f"{name}_at": finished if view["status"] == name else None for name in ENDINGS},
        "request_counts": {name: view[name] for name in ("total", "completed", "failed")},
        "metadata": created["metadata"] or None,
    }


ENDINGS = ("completed", "failed", "expired", "cancelled")
