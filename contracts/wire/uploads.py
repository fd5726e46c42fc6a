"""Uploads by parts as asked for and as served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from contracts.wire import openai
from contracts.wire.request import Request
from contracts.wire.requests import DatasetRequest, FilePurpose, served_purpose

MAX_UPLOAD = 8 * 2**30
MAX_PART = 64 * 2**20
MOST_PARTS = 10_000
PART_ID = "^part_[0-9a-f]{32}$"


class ExpiresAfter(Request):
    """When a file may go."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=3600, le=2592000)


class UploadRequest(Request):
    """POST /uploads."""

    bytes: int = Field(ge=1, le=MAX_UPLOAD)
    filename: str = Field(min_length=1, max_length=1024)
    mime_type: str = Field(max_length=255, pattern=r"^[\x20-\x7e]*$")
    purpose: Annotated[FilePurpose, BeforeValidator(served_purpose)]
    expires_after: ExpiresAfter | None = None
    dataset: DatasetRequest | None = None


class CompleteUpload(Request):
    """POST /uploads/{id}/complete: the parts in the order of the file."""

    part_ids: tuple[Annotated[str, Field(max_length=128)], ...] = Field(min_length=1, max_length=MOST_PARTS)
    md5: str | None = Field(default=None, pattern="^[0-9a-fA-F]{32}$")
    """Of the whole file, in hex."""


def upload(view: Mapping[str, Any], now: int, file: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return an Upload; one whose time is over is expired before anybody has said so. `now` is in milliseconds."""
    expired = view["status"] == "pending" and view["expires_at"] <= now
    return {
        "id": view["id"],
        "object": "upload",
        "bytes": view["bytes"],
        "created_at": openai.seconds(view["created_at"]),
        "expires_at": openai.seconds(view["expires_at"]),
        "filename": view["filename"],
        "purpose": view["purpose"],
        "status": "expired" if expired else view["status"],
        "file": openai.file(file) if file else None,
    }


def part(id: str, upload: str, created_at: int) -> dict[str, Any]:
    """Return an UploadPart; `created_at` is in milliseconds."""
    return {"id": id, "object": "upload.part", "created_at": openai.seconds(created_at), "upload_id": upload}
