"""What a training run decides without touching a device: its plan, steps, schedule, batches and checkpoints."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Array = npt.NDArray[np.int64]

GROUPED_BATCHES = 32  # batches sorted by length together: enough to remove most padding
LENGTH_BLUR = 0.2  # how much longer a row may count as, so that rows of like length mix anew in each epoch


class RecipeError(Exception):
    """A run that cannot go on: a code and one sentence for the person who reads the job."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Method(BaseModel):
    """Which parameters are trained: a low-rank adapter on the linear layers, or all of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["lora", "full"] = "lora"
    r: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    target_modules: str | tuple[str, ...] = "all-linear"


class RecipePlan(BaseModel):
    """One training run as the recipe executes it: paths, hyperparameters, device.

    `batch_size` is the number of rows of one optimizer step over all processes; `checkpoint_every` and
    `eval_every` count steps, and 0 means at the ends of epochs only; `threads` 0 is the library's default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1]
    job: str
    model_dir: str
    train: str
    valid: str | None = None
    output_dir: str
    resume_dir: str | None = None
    method: Method = Method()
    n_epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, ge=0)
    seed: int = Field(ge=0)
    checkpoint_every: int = Field(default=0, ge=0)
    eval_every: int = Field(default=0, ge=0)
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: int = Field(default=0, ge=0)
    deterministic: bool = False


# What may differ between a run and its continuation without changing the result's meaning.
_FREE_ON_RESUME = {
    "job", "model_dir", "train", "valid", "output_dir", "resume_dir", "device", "threads",
    "checkpoint_every", "eval_every",
}  # fmt: skip


def fingerprint(plan: RecipePlan, offsets: Array) -> dict[str, object]:
    """Everything that a checkpoint and the run which continues it must agree on, as JSON values."""
    fields = plan.model_dump(mode="json", exclude=_FREE_ON_RESUME)
    return {**fields, "rows": len(offsets) - 1, "tokens": int(offsets[-1])}


def differences(saved: dict[str, object], current: dict[str, object]) -> list[str]:
    """The names on which two fingerprints disagree, sorted."""
    return sorted(name for name in saved.keys() | current.keys() if saved.get(name) != current.get(name))


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Optimizer steps in one epoch; the last batch may be smaller."""
    return math.ceil(rows / batch_size)


def rate_factor(schedule: str, step: int, total_steps: int, warmup_steps: int) -> float:
    """What the learning rate is multiplied by at `step` (counted from 0): a linear warm-up, then the schedule."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if schedule == "constant":
        return 1.0
    left = max(0.0, (total_steps - step) / max(1, total_steps - warmup_steps))
    return left if schedule == "linear" else 0.5 * (1.0 - math.cos(math.pi * left))


def shuffled(count: int, seed: int, epoch: int) -> Array:
    """A permutation of `count` rows that depends on (seed, epoch) alone, not on a library's random stream."""
    mask = (1 << 64) - 1
    start = np.uint64((seed * 0x9E3779B97F4A7C15 + (epoch + 1) * 0xD1B54A32D192ED03) & mask)
    keys = np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + start
    # splitmix64: the published finaliser, wrapping in 64 bits by definition
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(keys ^ (keys >> np.uint64(31)), kind="stable").astype(np.int64)


def epoch_rows(groups: Array, seed: int, epoch: int) -> Array:
    """The rows of one epoch: of those that are variants of each other, the next one in each epoch.

    `groups` numbers each row's group from 0; which variant is the first depends on (seed, group) alone.
    """
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups)
    begins = np.cumsum(sizes) - sizes
    return order[begins + (shuffled(len(sizes), seed, -2) + epoch) % sizes]


def epoch_batches(
    lengths: Array, batch_size: int, seed: int, epoch: int, picked: Array | None = None
) -> list[list[int]]:
    """The rows of each step of one epoch: shuffled, rows of like length together, the incomplete batch last.

    `picked` are the rows that the epoch takes, where it does not take all.

    Neighbours in length are sought within a shuffled window, lengths are blurred before they are compared, and the
    batches are shuffled again, so that neither the order of lengths nor the company of a row is fixed.
    """
    picked = np.arange(len(lengths)) if picked is None else picked
    order = picked[shuffled(len(picked), seed, epoch)]
    full = len(order) - len(order) % batch_size
    window = batch_size * GROUPED_BATCHES
    blurred = lengths * (1.0 + LENGTH_BLUR * shuffled(len(lengths), ~seed, epoch) / len(lengths))
    batches: list[list[int]] = []
    for begin in range(0, full, window):
        rows = order[begin : min(begin + window, full)]
        rows = rows[np.argsort(blurred[rows], kind="stable")]
        batches += rows.reshape(-1, batch_size).tolist()
    turn = shuffled(len(batches), -seed, epoch)
    batches = [batches[i] for i in turn]
    return batches if full == len(order) else [*batches, order[full:].tolist()]


def rank_share(batch: Sequence[int], rank: int, world: int) -> list[int]:
    """The rows of `batch` that process `rank` of `world` computes; dealt in turn, so that lengths stay even."""
    return list(batch[rank::world])


def micro_batches(batch: Sequence[int], rank: int, world: int, micro: int) -> list[list[int]]:
    """How one process cuts a step's batch into forward passes of at most `micro` rows.

    Every process gets the same number of passes, since each of them may be waited for; some may be empty.
    """
    share = rank_share(batch, rank, world)
    return [share[i * micro : (i + 1) * micro] for i in range(passes(len(batch), world, micro))]


def passes(rows: int, world: int, micro: int) -> int:
    """Forward passes that one step over `rows` rows takes in each of `world` processes."""
    return math.ceil(math.ceil(rows / world) / micro)


def epoch_passes(rows: int, batch_size: int, world: int, micro: int) -> int:
    """Forward passes of one epoch in each process."""
    last = rows % batch_size
    return rows // batch_size * passes(batch_size, world, micro) + (passes(last, world, micro) if last else 0)


def is_epoch_end(step: int, per_epoch: int) -> bool:
    """Whether `step` (counted from 1) is an epoch's last."""
    return step % per_epoch == 0


def is_checkpoint_due(step: int, per_epoch: int, every: int) -> bool:
    """Whether a checkpoint follows `step` (counted from 1): at an epoch's end, and each `every` steps."""
    return is_epoch_end(step, per_epoch) or (every > 0 and step % every == 0)


def is_sample_eval_due(step: int, per_epoch: int, every: int) -> bool:
    """Whether a sample of the validation rows is scored at `step`; an epoch's end scores all of them instead."""
    return every > 0 and step % every == 0 and not is_epoch_end(step, per_epoch)


def sample_rows(count: int, size: int, step: int) -> list[int]:
    """The validation rows scored at `step`: a window that moves on, so that no row is favoured."""
    return [(step * size + i) % count for i in range(min(size, count))]


def smaller_micro_batch(micro: int) -> int | None:
    """The next try after memory ran out with `micro` rows at once, None when one row was already too much."""
    return micro // 2 if micro > 1 else None


def heaviest_rows(lengths: Array, labels: Array, count: int) -> list[list[int]]:
    """The groups of `count` rows that bound a step's memory: the longest rows, and those with most labels."""
    longest = np.argsort(-lengths, kind="stable")[:count].tolist()
    most_labels = np.argsort(-labels, kind="stable")[:count].tolist()
    return [longest] if set(longest) == set(most_labels) else [longest, most_labels]


def evaluation_batches(lengths: Array, rows: Sequence[int], size: int) -> list[list[int]]:
    """`rows` in batches of like length, for a pass in which order does not matter."""
    ordered = sorted(rows, key=lambda row: (int(lengths[row]), row))
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def token_file_error(ids: int, mask: int, offsets: Array) -> str | None:
    """What is wrong with the shape of a tokens file, in one sentence, or None."""
    if len(offsets) < 2:
        return "The tokens file holds no rows."
    if ids != mask or int(offsets[0]) != 0 or int(offsets[-1]) != ids:
        return f"The tokens file is inconsistent: {ids} tokens, {mask} label marks, offsets up to {int(offsets[-1])}."
    if bool((np.diff(offsets) < 2).any()):
        return (
            f"Row {int(np.argmax(np.diff(offsets) < 2))} has fewer than two tokens, so nothing can be predicted in it."
        )
    return None


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of the random numbers (dropout) of one step in one process, so that a resume needs no saved state."""
    mask = (1 << 64) - 1
    key = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) & mask
    key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & mask
    key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & mask
    return (key ^ (key >> 31)) >> 1
