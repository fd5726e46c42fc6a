"""A training step is timed on part of a batch, whatever its rows are."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from functions.prepare_job.measure import measure, shape_of
from functions.prepare_job.plan import PROBE_TOKENS
from functions.prepare_job.tokenise import Tokens
from tests.unit.generate_text.tiny import build_base


def test_a_row_longer_than_what_is_timed_is_timed_by_its_end(tmp_path: Path) -> None:
    base = build_base(tmp_path / "base", max_position_embeddings=4096)
    long = 4 * PROBE_TOKENS
    row = array("i", [7] * (long - PROBE_TOKENS) + [9] * PROBE_TOKENS)
    mask = bytearray(long - 5) + bytearray(b"\1" * 5)
    tokens = Tokens(row * 4, mask * 4, [long] * 4, groups_made=4)
    spec = {"model_dir": str(base), "tuning": {"kind": "lora", "r": 4}, "device": "cpu", "threads": 1,
            "seed": 1, "dtype": "auto", "n_epochs": 1, "batch_size": 2}  # fmt: skip
    seen: list[Any] = []
    hook = register_module_forward_pre_hook(
        lambda layer, args: seen.append(args[0]) if isinstance(layer, torch.nn.Embedding) else None
    )
    try:
        assert measure(spec, shape_of(spec), tokens, None)["step_seconds"] > 0
    finally:
        hook.remove()
    assert seen
    assert all(ids.shape == (1, PROBE_TOKENS) and bool((ids == 9).all()) for ids in seen)
