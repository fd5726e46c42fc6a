"""Files of rows."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.blobs import BlobRef
from contracts.bounds import Code, Count, Name, Phrase, Place, Sentence
from contracts.events import Payload


class RowError(BaseModel):
    """One thing that is wrong with one row."""

    model_config = ConfigDict(frozen=True)

    line: Count
    """1-based line in the file (of the row's first character); for a JSON array the 1-based element."""
    path: Place = ""
    """Where in the row, such as `messages[2].role`."""
    code: str = Field(max_length=32)
    message: Phrase
    """What is wrong and what to do, in a sentence."""


class FileUploaded(Payload):
    """A file of rows is stored."""

    blob: BlobRef
    """The bytes as they came."""
    filename: str = Field(max_length=1024)
    purpose: str = Field(max_length=64)
    """`fine-tune`, `batch`, … or what Temper writes: `fine-tune-results` of a job, `batch_output` of a batch."""
    format: Literal["jsonl", "json", "csv", "unknown"] = "unknown"
    """As sniffed from the first bytes; validation decides."""
    expires_after: int | None = Field(default=None, ge=3600, le=2592000)
    """Seconds after creation at which the file may go."""


class FileValidated(Payload):
    """Every row was checked and none is wrong."""

    format: Literal["jsonl", "json", "csv"]
    shape: Literal["chat", "prompt_completion", "batch"]
    rows: Count
    blob: BlobRef
    """The rows as canonical chat JSONL: `{"messages": […], "tools"?: […], "variant_of"?: text, "line": n}`, or the
    requests of a batch: `{"custom_id": text, "line": n, "body": {…}}`.

    Rows with the same `variant_of` are variants of one row: an epoch takes one of them."""
    has_tools: bool = False
    """Whether any row carries tools or functions."""
    encoding: Literal["utf-8", "windows-1252"] = "utf-8"
    """What a table was read as that is not UTF-8."""
    url: Code | None = None
    """Of a batch: the path that every line asks."""
    model: Name | None = None
    """Of a batch: the model that every line asks."""


class FileRejected(Payload):
    """At least one row is wrong, or the file could not be read."""

    code: Code
    message: Sentence
    param: Code | None = None
    rows: Count = 0
    """Rows that were read."""
    n_errors: Count = 0
    errors: tuple[RowError, ...] = Field(default=(), max_length=100)
    """The first hundred."""
    errors_blob: BlobRef | None = None
    """All of them, JSON lines."""


class FileDeleted(Payload):
    """The file's bytes are gone and its id stays dead."""

    reason: Literal["requested", "expired"] = "requested"
