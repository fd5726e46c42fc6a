"""In which precision a model is trained: decided alike by who measures and by who trains."""

from __future__ import annotations


def is_bfloat16(asked: str, device: str) -> bool:
    """Return whether `asked` (auto, float32, bfloat16) means bfloat16 on a device.

    `auto` does on a GPU alone: on a processor with AVX-512-BF16 a token takes 1.4 times as long, and the losses of a
    real base are other ones than in float32 (decision 33).
    """
    return asked == "bfloat16" or (asked == "auto" and device == "cuda")
