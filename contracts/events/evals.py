"""Evals: criteria by which answers of models are graded, and runs of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.blobs import BlobRef
from contracts.bounds import Code, Count, Id, Name, Sentence
from contracts.events import Payload
from contracts.events.completions import Metadata

MOST_CRITERIA = 32
Label = Annotated[str, Field(max_length=256)]
"""What its maker calls it."""


class EvalCreated(Payload):
    """Somebody says how answers are to be graded."""

    name: Label
    metadata: Metadata = Field(default_factory=dict)
    blob: BlobRef
    """JSON: `{"data_source_config": …, "testing_criteria": […]}`, as shown."""


class EvalUpdated(Payload):
    """It has another name or other metadata from now on; both are said again."""

    name: Label
    metadata: Metadata = Field(default_factory=dict)


class EvalDeleted(Payload):
    """Its criteria are gone, and its runs with them."""


class EvalRunCreated(Payload):
    """Somebody wants rows graded, or answers to them."""

    eval: Id
    name: Label
    metadata: Metadata = Field(default_factory=dict)
    model: Name | None = None
    """That answers; none: the rows hold what is graded."""
    file: Id | None = None
    """That holds the rows; none: the request held them."""
    blob: BlobRef
    """JSON: `{"data_source": …, "testing_criteria": […], "metadata"?: …, "item_schema"?: …}`, the last of a file."""


class EvalRunStarted(Payload):
    """The rows are read; they are answered and graded."""

    total: Count


class EvalRunProgressed(Payload):
    """So many rows are graded, and recorded."""

    passed: Count
    failed: Count
    errored: Count


class EvalRunCancelRequested(Payload):
    """No more rows shall be graded."""


class CriterionResult(BaseModel):
    """How often one criterion held."""

    model_config = ConfigDict(frozen=True)

    name: Label
    passed: Count
    failed: Count


class ModelUsage(BaseModel):
    """What one model was asked, as answering or as grading."""

    model_config = ConfigDict(frozen=True)

    model: Name
    requests: Count
    prompt_tokens: Count
    completion_tokens: Count


class EvalRunEnded(Payload):
    """The run is over; its rows were recorded before."""

    status: Literal["completed", "failed", "canceled"]
    total: Count = 0
    passed: Count = 0
    failed: Count = 0
    errored: Count = 0
    """Rows that could not be answered or graded."""
    parts: Count = 0
    """Blobs `items/{number}.jsonl` that hold the graded rows."""
    criteria: tuple[CriterionResult, ...] = Field(default=(), max_length=MOST_CRITERIA)
    usage: tuple[ModelUsage, ...] = Field(default=(), max_length=MOST_CRITERIA + 1)
    code: Code | None = None
    message: Sentence | None = None


class EvalRunDeleted(Payload):
    """Its rows and grades are gone, and its id stays dead."""
