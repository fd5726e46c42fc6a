"""Who measures and who trains decide alike in which precision."""

from __future__ import annotations

from functions._shared.precision import is_bfloat16


def test_auto_is_bfloat16_on_a_gpu_alone() -> None:
    assert is_bfloat16("auto", "cuda")
    assert not is_bfloat16("auto", "cpu")
    assert not is_bfloat16("auto", "mps")


def test_what_is_asked_for_is_done() -> None:
    for device in ("cpu", "cuda"):
        assert is_bfloat16("bfloat16", device)
        assert not is_bfloat16("float32", device)
