"""Uploads by parts: a file whose bytes come in pieces, in any order."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contracts.bounds import Count, Id
from contracts.events import Payload
from contracts.events.corpus import DatasetAsked

STAGE = "upload"
"""Of an upload's control document, which says how it ended; nobody works at it."""


class UploadCreated(Payload):
    """Somebody begins to upload a file by parts."""

    bytes: Count
    """Of the whole file, as announced."""
    filename: str = Field(max_length=1024)
    mime_type: str = Field(max_length=255)
    purpose: str = Field(max_length=64)
    seconds: int = Field(ge=1, le=2592000)
    """After its creation at which the upload expires."""
    expires_after: int | None = Field(default=None, ge=3600, le=2592000)
    """Seconds after the file's creation at which the file may go."""
    dataset: DatasetAsked | None = None
    """How the data set of its documents is to be made."""


class UploadCompleted(Payload):
    """The parts were put together; the file was said before."""

    file: Id


class UploadCancelled(Payload):
    """No file came of it; the parts go."""

    reason: Literal["requested", "expired"] = "requested"
