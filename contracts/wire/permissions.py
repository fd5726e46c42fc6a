"""Permissions of checkpoints as asked for and as served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from contracts.wire import openai
from contracts.wire.request import Query, Request

MOST_AT_ONCE = 100
MOST_PROJECTS = 1000
"""That may call one model."""


class PermissionRequest(Request):
    """POST /fine_tuning/checkpoints/{checkpoint}/permissions."""

    project_ids: tuple[Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")], ...] = Field(
        min_length=1, max_length=MOST_AT_ONCE
    )


class PermissionPage(Query):
    """GET /fine_tuning/checkpoints/{checkpoint}/permissions."""

    limit: int = Field(default=10, ge=1, le=100)
    after: str | None = None
    order: Literal["ascending", "descending"] = "descending"
    project_id: str | None = None

    @property
    def sort(self) -> tuple[tuple[str, int], ...]:
        """How the list is sorted: by age, and by id where two are of one moment."""
        direction = 1 if self.order == "ascending" else -1
        return (("created_at", direction), ("id", direction))


def permission(view: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint.permission."""
    return {
        "id": view["id"],
        "object": "checkpoint.permission",
        "created_at": openai.seconds(view["created_at"]),
        "project_id": view["project"],
    }
