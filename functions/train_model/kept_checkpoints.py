"""Which checkpoints of a job that has succeeded are kept, as models of their own."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.controls import Checkpoint

KEPT_EPOCHS = 3
"""Checkpoints of the last epochs that become models of their own, as OpenAI keeps them."""


def kept(checkpoints: Iterable[Checkpoint], total_steps: int) -> list[Checkpoint]:
    """Return the checkpoints that become models: the last epochs' ends, the final one last."""
    ends = {checkpoint.step: checkpoint for checkpoint in checkpoints if checkpoint.epoch_end}
    chosen = [ends[step] for step in sorted(ends)][-KEPT_EPOCHS:]
    if not chosen or chosen[-1].step != total_steps:
        raise ValueError(f"no checkpoint at the last step {total_steps}")
    return chosen
