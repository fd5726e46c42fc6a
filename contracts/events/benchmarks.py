"""Benchmarks of tuned models against their base."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.benchmarks import Metric, Side, Verdict
from contracts.blobs import BlobRef
from contracts.bounds import Code, Count, Id, Name, Number, Place, Sentence, Share, Title
from contracts.events import Payload
from contracts.manifest import ManifestRef

FILE_DELETED = "file_deleted"
"""Code of a benchmark that ended because a file was deleted whose rows it asks."""
JOB_DELETED = "job_deleted"
"""Code of a benchmark that ended because the job was deleted whose model it asks."""
TaskName = Literal["documents", "trained", "closed_book", "needle"]
MOST_SCORES = 100
"""In an event; the result has all."""


class Grid(BaseModel):
    """The needle in a haystack: every combination of these, each with controls."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lengths: tuple[Annotated[int, Field(ge=1, le=2**24)], ...] = Field(default=(), max_length=8)
    """Tokens of the whole context; empty: an eighth, a quarter and half of what the base can read."""
    chunks: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(default=(2, 4, 8), min_length=1, max_length=8)
    positions: tuple[Share, ...] = Field(default=(0.0, 0.5, 1.0), min_length=1, max_length=8)
    """Place of the passage that answers, 0 first, 1 last."""
    distractors: tuple[Literal["random", "hard"], ...] = Field(default=("random", "hard"), min_length=1, max_length=2)
    per_cell: int = Field(default=4, ge=1, le=100)
    """Questions of each cell."""


class Suite(BaseModel):
    """What is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: tuple[TaskName, ...] = Field(default=("documents", "trained"), max_length=8)
    harness: tuple[Id, ...] = Field(default=(), max_length=64)
    """Tasks of the benchmark bundle, run by lm-eval."""
    items: int = Field(default=100, ge=1, le=10_000)
    """Most questions of each task but the grid."""
    grid: Grid = Grid()
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    judge: str | None = Field(default=None, min_length=1, max_length=256)
    """Model to ask at the judge's endpoint; None: the one that settings name, if any; `none`: no judge."""
    metric: Metric | None = None
    """By which answers are compared; None: by the judge where there is one."""


class BenchmarkedModel(BaseModel):
    """A model that is asked."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Name
    manifest: ManifestRef | None = None
    """What is registered under the name when the work is opened counts, whatever is said here."""

    @property
    def ref(self) -> ManifestRef:
        """The manifest of a model that was looked up; raises ValueError for any other."""
        if self.manifest is None:
            raise ValueError(f"the model {self.name} was not looked up")
        return self.manifest


class BenchmarkRequested(Payload):
    """Somebody wants to know how good a model is."""

    models: dict[Side, BenchmarkedModel]
    """`tuned`, and `base` to compare it with."""
    base_name: Name
    """The base model whose tokens count, and whose context bounds the grid."""
    job: Id | None = None
    """The job that made the model, if one is meant."""
    file: Id | None = None
    """The file whose rows are asked: the job's training file, or any other."""
    generalization: Id | None = None
    """A file of rows that ask the trained facts in other words."""
    forgetting: Id | None = None
    """A file of general rows, asked to see what was lost."""
    rescores: str | None = Field(default=None, max_length=64)
    """The benchmark whose answers are scored anew; no model is asked anything."""
    suite: Suite = Suite()


class BenchmarkStarted(Payload):
    """The questions are fixed, and asking begins."""

    total: Count
    """Answers wanted, of all models."""


class BenchmarkProgressed(Payload):
    """Some more was answered."""

    done: Count
    total: Count


class TaskScore(BaseModel):
    """One task in short; the result has all of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Place
    metric: Code
    scorer: Title
    n: Count
    unscored: Count = 0
    base: Number | None = None
    tuned: Number | None = None
    difference: tuple[Number, Number, Number] | None = None
    """Value, low, high."""


class BenchmarkCompleted(Payload):
    """Everything was asked and scored."""

    result: BlobRef
    items: BlobRef
    report: BlobRef
    verdict: Verdict
    sentence: Sentence
    scores: tuple[TaskScore, ...] = Field(max_length=MOST_SCORES)


class BenchmarkFailed(Payload):
    """There is no result; `cancelled` where somebody wanted it so."""

    code: Code
    message: Sentence
