"""Which checkpoints of a job are kept: to go on from while it runs, and as models of their own."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.controls import Checkpoint

KEPT_EPOCHS = 3
"""Checkpoints of the last epochs that become models of their own, as OpenAI keeps them."""
RESUMABLE = 2
"""The newest checkpoints, kept with the optimizer's state: one to go on from, and one should that be unreadable."""


def kept(checkpoints: Iterable[Checkpoint], total_steps: int) -> list[Checkpoint]:
    """Return the checkpoints that become models: the last epochs' ends, the final one last."""
    chosen = _last_ends(checkpoints)
    if not chosen or chosen[-1].step != total_steps:
        raise ValueError(f"no checkpoint at the last step {total_steps}")
    return chosen


def resumable(checkpoints: Iterable[Checkpoint]) -> list[Checkpoint]:
    """Return the checkpoints that a running job keeps whole, the newest first."""
    return sorted(checkpoints, key=lambda each: each.step, reverse=True)[:RESUMABLE]


def only_weights(checkpoints: Iterable[Checkpoint]) -> list[Checkpoint]:
    """Return the checkpoints of which a running job keeps what a model needs: nobody goes on from them any more."""
    known = list(checkpoints)
    whole = resumable(known)
    return [each for each in _last_ends(known) if each not in whole]


def superfluous(
    keys: Iterable[str], prefix: str, fence: int, folders: Iterable[str], files: Iterable[str]
) -> list[str]:
    """Return the `keys` of checkpoints, all below `prefix`, that are in none of `folders` and not among `files`.

    What a later attempt than `fence` has stored is never among them: whoever lost the lease may not know it yet.
    """
    whole, single = tuple(folders), frozenset(files)
    return [
        key
        for key in keys
        if int(key.removeprefix(prefix).partition("/")[0]) <= fence and not key.startswith(whole) and key not in single
    ]


def _last_ends(checkpoints: Iterable[Checkpoint]) -> list[Checkpoint]:
    ends = {checkpoint.step: checkpoint for checkpoint in checkpoints if checkpoint.epoch_end}
    return [ends[step] for step in sorted(ends)][-KEPT_EPOCHS:]
