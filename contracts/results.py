"""A job's two result files, a line for each step: OpenAI's CSV, and JSON lines with the fields of Anyscale's."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from typing import Final

from contracts.canonical import compact
from contracts.envelope import derived_id
from contracts.events.jobs import StepMetrics
from contracts.wire.answers import StepResult

CSV: Final = "step_metrics.csv"
JSONL: Final = "step_metrics.jsonl"
PURPOSE: Final = "fine-tune-results"
COLUMNS = (
    "step",
    "train_loss",
    "train_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "train_mean_reward",
    "full_validation_mean_reward",
)
MOST_EXPONENT = 700.0
"""e to a higher power is no number any more."""


def result_ids(job: str) -> dict[str, str]:
    """Return the ids of a job's result files, by name; they are known before there is a file."""
    parts = {CSV: ("result",), JSONL: ("result", "jsonl")}
    return {name: "file-" + derived_id(job, *part).replace("-", "") for name, part in parts.items()}


def as_csv(steps: Iterable[StepMetrics]) -> bytes:
    """Return OpenAI's result file; numbers that were not measured stay empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for step in steps:
        loss = step.valid_loss if step.valid_loss is not None else step.full_valid_loss
        accuracy = step.valid_mean_token_accuracy
        if accuracy is None:
            accuracy = step.full_valid_mean_token_accuracy
        numbers = (step.train_loss, step.train_mean_token_accuracy, loss, accuracy, None, None)
        writer.writerow([step.step, *("" if number is None else f"{number:.5f}" for number in numbers)])
    return out.getvalue().encode()


def as_jsonl(steps: Iterable[StepMetrics], n_epochs: int, total_steps: int, context: int) -> bytes:
    """Return Anyscale's result file; `valid_loss` and `perplexity` (e to its power) stand at an epoch's end only."""
    lines = []
    for step in steps:
        valid = step.full_valid_loss
        lines.append(
            StepResult(
                epoch=(step.step - 1) * n_epochs // total_steps,
                iteration=step.step,
                train_loss=step.train_loss,
                trained_tokens=step.tokens,
                valid_loss=valid,
                perplexity=math.exp(valid) if valid is not None and valid < MOST_EXPONENT else None,
                hyperparameters={"n_epochs": n_epochs, "context_length": context},
                time_since_job_start=step.elapsed,
            )
        )
    return b"".join(compact(line) + b"\n" for line in lines)
