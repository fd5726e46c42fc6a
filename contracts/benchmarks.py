"""Benchmarks: what is asked of base and tuned model, what each said, and how far apart they are. JSON in blobs.

Blobs of a benchmark lie under `{tenant}/{benchmark}/`: suite.json, answers/{part}.jsonl, items.jsonl, result.json,
report.html, and the report's pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Side = Literal["base", "tuned"]
SIDES: tuple[Side, ...] = ("base", "tuned")
"""A benchmark of one model alone has the side `tuned` only."""
Kind = Literal[
    "documents", "generalization", "trained", "needle", "no_context", "absent", "closed_book", "forgetting", "lm_eval"
]
"""documents: held-out rows in their contexts; generalization: trained facts asked in other words; trained: training
rows asked again; needle: the grid; no_context and absent: its controls; closed_book: questions without any context;
forgetting: general rows, before and after; lm_eval: of a bundle."""
Metric = Literal["judge", "exact_match", "f1", "rouge_l"]
"""By which answers may be compared; refusals and lm-eval's tasks have metrics of their own."""
Verdict = Literal["better", "worse", "no_difference", "unscored"]


class BenchmarkPart(BaseModel):
    """A frozen part of a blob."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Estimate(BenchmarkPart):
    """A mean with its 95 % interval; a share or score is in 0..1, a difference in -1..1."""

    value: float
    low: float
    high: float


class Item(BenchmarkPart):
    """One question with what was said and how it was scored; a line of items.jsonl."""

    id: str
    """Derives from task and content, so that an item is scored once whoever scores it."""
    task: str
    question: str
    context: tuple[str, ...] = ()
    """Passages shown, in order; a grid's are cut to 200 characters each."""
    answer: str
    """The right one."""
    source: Mapping[str, str | int] = Field(default_factory=dict)
    """path, document, chunk, index (of the chunk in its document), page: where the answer stands."""
    by: Mapping[str, str | int] = Field(default_factory=dict)
    """The cell of a grid: length, chunks, position, distractors."""
    said: Mapping[Side, str] = Field(default_factory=dict)
    scores: Mapping[Side, Mapping[str, float | None]] = Field(default_factory=dict)
    """Side → metric → score in 0..1; None where it could not be scored, which is never 0."""
    reasons: Mapping[Side, str] = Field(default_factory=dict)
    """What the judge said of its score."""
    errors: Mapping[Side, str] = Field(default_factory=dict)
    """Why something could not be scored."""


class Score(BenchmarkPart):
    """One side's mean over the items that could be scored."""

    n: int
    unscored: int = 0
    estimate: Estimate | None = None
    """None where nothing could be scored."""


class Difference(BenchmarkPart):
    """Tuned minus base over the items scored on both sides."""

    n: int
    estimate: Estimate
    better: int
    """Items on which tuned scored higher."""
    worse: int
    p: float
    """Of McNemar's exact test where scores are 0 or 1, else of the paired permutation test; two-sided."""
    method: str
    """Of the interval and the test, in words."""


class Cell(BenchmarkPart):
    """Part of a task: one place of a grid, a page, a chunk, a position."""

    by: Mapping[str, str | int]
    scores: Mapping[Side, Score]


class TaskResult(BenchmarkPart):
    """One task on both sides."""

    name: str
    kind: Kind
    title: str
    """As a reader sees it."""
    metric: str
    """The one that is compared: exact_match, f1, rouge_l, judge, acc, acc_norm."""
    scorer: str
    """Who scored, as a reader sees it: `exact match (no judge)`, `judge: MODEL`, `lm-eval 0.4.13`."""
    scores: Mapping[Side, Score]
    difference: Difference | None = None
    other: Mapping[str, Mapping[Side, Score]] = Field(default_factory=dict)
    """Other metrics of the same items."""
    cells: tuple[Cell, ...] = ()
    note: str = ""
    """What a reader has to know: few items, a control that failed."""


class Loss(BenchmarkPart):
    """A step of training, for the report's curves."""

    step: int
    train_loss: float
    valid_loss: float | None = None


class Result(BenchmarkPart):
    """All that a benchmark found; result.json."""

    version: int = 1
    benchmark: str
    job: str | None = None
    models: Mapping[Side, str]
    """Side → the name it is called by."""
    created_at: str
    """ISO 8601."""
    verdict: Verdict
    sentence: str
    """The verdict in words, with n and interval."""
    config: Mapping[str, str | int | float | None]
    """Everything that has to be the same for the same scores: seed, template, few-shot examples, hashes of tasks."""
    tasks: tuple[TaskResult, ...]
    losses: tuple[Loss, ...] = ()
    dataset: Mapping[str, str | int | float | None] = Field(default_factory=dict)
    """Of the training data's report: rows, held_out_rows, coverage, generator, documents."""
