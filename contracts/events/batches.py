"""Batches: a file of requests that are answered when there is room."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.bounds import Code, Count, Id, Name, Phrase
from contracts.events import Payload


class BatchCreated(Payload):
    """Somebody wants the requests of a file answered."""

    input_file: Id
    endpoint: Code
    """The path that each of its lines asks."""
    metadata: dict[Code, Annotated[str, Field(max_length=512)]] = Field(default_factory=dict, max_length=16)
    expires_after: int | None = Field(default=None, ge=3600, le=2592000)
    """Seconds after their creation at which the files of answers may go."""


class BatchStarted(Payload):
    """The file is valid; its lines are asked."""

    total: Count
    model: Name


class BatchProgressed(Payload):
    """So many lines are answered, and recorded."""

    completed: Count
    failed: Count


class BatchCancelRequested(Payload):
    """No more lines shall be asked."""


class BatchFinalizing(Payload):
    """Nothing more is asked; the files of answers are written."""


class BatchError(BaseModel):
    """Why a batch cannot be begun."""

    model_config = ConfigDict(frozen=True)

    code: Code
    message: Phrase
    param: Code | None = None
    line: Count | None = None
    """1-based, in the file."""


class BatchEnded(Payload):
    """The batch is over; the files of answers were said before."""

    status: Literal["completed", "failed", "expired", "cancelled"]
    total: Count = 0
    completed: Count = 0
    """Lines whose answer has status 200."""
    failed: Count = 0
    output_file: Id | None = None
    error_file: Id | None = None
    errors: tuple[BatchError, ...] = Field(default=(), max_length=100)
