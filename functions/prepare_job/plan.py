"""The plan of a job: `auto` hyperparameters with their reasons, steps, checkpoints, memory and time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.blobs import BlobRef
from contracts.events.jobs import Histogram, JobCreated, Plan, Tuning
from contracts.events.models import ModelRegistered
from contracts.wire.openai import derived_seed

# OpenAI's published rule for n_epochs: https://developers.openai.com/cookbook/examples/chat_finetuning_data_prep
TARGET_EPOCHS, MIN_EXAMPLES, MAX_EXAMPLES, MAX_EPOCHS = 3, 100, 25_000, 25
LEAST_BATCH, MOST_BATCH, BATCH_SHARE = 4, 64, 0.002
LORA_RATE, RATE_PARAMETERS, MOST_RATE, FULL_SHARE = 2e-4, 1e9, 1e-2, 0.1
WARMUP_SHARE, MOST_WARMUP = 0.1, 100
CHECKPOINT_SECONDS, MOST_CHECKPOINTS = 10.0, 500
CHECKPOINT_BYTES_PER_SECOND, LEAST_CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 200e6, 0.1, 0.05
BINS = 12
PROCESS_BYTES = 700_000_000
"""Of a training process before it has a model."""
PROBE_TOKENS = 512
"""What is timed of a batch on a processor, which takes as long for each token: a whole one may take gigabytes."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Hyperparameters, and why those that were `auto` are what they are."""

    n_epochs: int
    batch_size: int
    context_length: int
    multiplier: float
    learning_rate: float
    reasons: dict[str, str]


def choose(created: JobCreated, rows: int, base: ModelRegistered) -> Chosen:
    """Return the hyperparameters for epochs of `rows` training rows; the user's own are taken as they are."""
    asked, reasons = created.hyperparameters, dict[str, str]()
    n_epochs, batch_size, multiplier = asked.n_epochs, asked.batch_size, asked.learning_rate_multiplier
    if n_epochs == "auto":
        n_epochs, reasons["n_epochs"] = _epochs(rows, base.auto.get("n_epochs"))
    if batch_size == "auto":
        batch_size, reasons["batch_size"] = _batch(rows, base.auto.get("batch_size"))
    if multiplier == "auto":
        multiplier, reasons["learning_rate_multiplier"] = 1.0, "the base's own rate is used as it is"
    if asked.context_length == "auto":
        reasons["context_length"] = "all that the base model reads"
    rate, reasons["learning_rate"] = _rate(base, created.tuning)
    return Chosen(n_epochs, batch_size, row_length(created, base), multiplier, rate * multiplier, reasons)


def row_length(created: JobCreated, base: ModelRegistered) -> int:
    """Return the most tokens that a row may have."""
    asked = created.hyperparameters.context_length
    return base.context if asked == "auto" else asked


def _epochs(rows: int, own: float | None) -> tuple[int, str]:
    if own is not None:
        return max(1, round(own)), "recommended by the base model"
    if rows * TARGET_EPOCHS < MIN_EXAMPLES:
        return min(
            MAX_EPOCHS, math.ceil(MIN_EXAMPLES / rows)
        ), f"{rows} rows are few: at least {MIN_EXAMPLES} are shown"
    if rows * TARGET_EPOCHS > MAX_EXAMPLES:
        return max(1, MAX_EXAMPLES // rows), f"{rows} rows are many: about {MAX_EXAMPLES} are shown"
    return TARGET_EPOCHS, f"{rows} rows are shown {TARGET_EPOCHS} times"


def _batch(rows: int, own: float | None) -> tuple[int, str]:
    if own is not None:
        return min(rows, max(1, round(own))), "recommended by the base model"
    batch = min(rows, MOST_BATCH, max(LEAST_BATCH, round(rows * BATCH_SHARE)))
    return batch, f"0.2 % of {rows} rows, between {LEAST_BATCH} and {MOST_BATCH}"


def _rate(base: ModelRegistered, tuning: Tuning) -> tuple[float, str]:
    full = tuning.kind == "full"
    if full and "full_learning_rate" in base.auto:
        return base.auto["full_learning_rate"], "the base model's own rate for all weights, times the multiplier"
    if "learning_rate" in base.auto:
        rate, why = base.auto["learning_rate"], "the base model's own rate"
    else:
        parameters = base.parameters or RATE_PARAMETERS
        rate = min(MOST_RATE, LORA_RATE * math.sqrt(RATE_PARAMETERS / parameters))
        why = f"{LORA_RATE:g} at a billion parameters, falling with the root of their number"
    if full:
        return rate * FULL_SHARE, f"{why}, a tenth of it because all weights are trained, times the multiplier"
    return rate, f"{why}, times the multiplier"


def histogram(lengths: Sequence[int]) -> Histogram:
    """Return at most twelve bins of equal width, a round one, from 0 beyond the longest row."""
    longest = max(lengths)
    width = next(
        step for power in range(12) for step in (10**power, 2 * 10**power, 5 * 10**power) if step * BINS > longest
    )
    counts = [0] * (longest // width + 1)
    for length in lengths:
        counts[length // width] += 1
    return Histogram(edges=tuple(width * edge for edge in range(len(counts) + 1)), counts=tuple(counts))


@dataclass(frozen=True, slots=True)
class Shape:
    """What a model's size follows from."""

    parameters: int
    trainable: int
    hidden: int
    layers: int
    inner: int
    vocabulary: int
    weight_bytes: int
    """Per parameter of the frozen base as it is trained: 4, or 2 in bfloat16."""


def memory(shape: Shape, batch_rows: int, longest: int, label_share: float) -> int:
    """Return an estimate of peak bytes: weights, gradients and Adam's moments, activations of the longest batch."""
    trained = shape.trainable * 4 * (4 if shape.trainable < shape.parameters else 3)
    frozen = shape.parameters * shape.weight_bytes if shape.trainable < shape.parameters else shape.parameters * 4
    tokens = batch_rows * longest
    # kept for backward, per token and layer: about 16 vectors of the hidden size and 4 of the inner one
    activations = tokens * shape.layers * (16 * shape.hidden + 4 * shape.inner) * shape.weight_bytes
    logits = int(tokens * label_share) * shape.vocabulary * 4 * 3
    return PROCESS_BYTES + frozen + trained + activations + logits


def checkpoint_seconds(trainable: int) -> float:
    """Return what writing and hashing a checkpoint takes: weights and two moments of what is trained."""
    return LEAST_CHECKPOINT_SECONDS + trainable * 12 / CHECKPOINT_BYTES_PER_SECOND


def checkpoint_steps(total_steps: int, step_seconds: float, trainable: int) -> int:
    """Return the steps between checkpoints: every ten seconds or so, rarer where one costs much or steps are many."""
    every = max(CHECKPOINT_SECONDS, checkpoint_seconds(trainable) / CHECKPOINT_SHARE)
    steps = max(int(every / max(step_seconds, 1e-6)), math.ceil(total_steps / MOST_CHECKPOINTS), 1)
    return min(steps, total_steps)


@dataclass(frozen=True, slots=True)
class StoredTokens:
    """Where the tokens lie."""

    train: BlobRef
    valid: BlobRef | None
    probe: BlobRef


def make_plan(
    job: str, created: JobCreated, base: ModelRegistered, choice: Chosen, found: Mapping[str, Any], stored: StoredTokens
) -> Plan:
    """Return the plan; `found` is what tokenising counted and measured (`train`, `valid`, `shape`, `measured`)."""
    train, valid, shape = found["train"], found["valid"], Shape(**found["shape"])
    step_seconds, valid_seconds = found["measured"]["step_seconds"], found["measured"]["valid_seconds"]
    total_steps = choice.n_epochs * math.ceil(train["rows_per_epoch"] / choice.batch_size)
    every = checkpoint_steps(total_steps, step_seconds, shape.trainable)
    saves = total_steps // every + choice.n_epochs
    seconds = total_steps * step_seconds + choice.n_epochs * valid_seconds + saves * checkpoint_seconds(shape.trainable)
    label_share = train["label_tokens"] / train["tokens"]
    reasons = {
        "checkpoint_every": f"a checkpoint about every {max(1, round(every * step_seconds))} s",
        "seconds": found["measured"]["how"],
    }
    return Plan(
        base=base.manifest,
        base_name=created.model,
        train=stored.train,
        valid=stored.valid,
        probe=stored.probe,
        template_sha256=base.template_sha256,
        context=base.context,
        context_length=choice.context_length,
        chat_template_kwargs=found["chat_template_kwargs"],
        row_shape=found["row_shape"],
        rows=train["rows"],
        examples=train["examples"],
        rows_per_epoch=train["rows_per_epoch"],
        valid_rows=valid["rows"] if valid else 0,
        dropped_rows=train["dropped"],
        truncated_rows=train["truncated"],
        tokens=train["tokens"],
        label_tokens=train["label_tokens"],
        longest_row=train["longest"],
        histogram=Histogram(**train["histogram"]),
        n_epochs=choice.n_epochs,
        batch_size=choice.batch_size,
        learning_rate_multiplier=choice.multiplier,
        learning_rate=choice.learning_rate,
        total_steps=total_steps,
        warmup_steps=min(MOST_WARMUP, int(total_steps * WARMUP_SHARE)),
        checkpoint_every=every,
        seed=created.seed if created.seed is not None else derived_seed(job),
        tuning=created.tuning,
        reasons={**choice.reasons, **reasons},
        memory_bytes=memory(shape, min(choice.batch_size, train["examples"]), train["longest"], label_share),
        seconds=seconds,
    )
