"""Runs in Weights & Biases."""

from __future__ import annotations

from contracts.function import Function, Reaction
from functions._shared.runs import ENDINGS
from functions.track_wandb import handler

FUNCTION = Function(
    name="track_wandb",
    role="worker",
    reactions=(Reaction((*ENDINGS,), handler.on_wandb),),
    deadline=240.0,  # the client may go over a slow line
    optional=True,
)
