"""In which precision a model is trained: decided alike by who measures and by who trains."""

from __future__ import annotations


def is_bfloat16(asked: str, device: str) -> bool:
    """Return whether `asked` (auto, float32, bfloat16) means bfloat16 on a device.

    `auto` does on a GPU alone: on a processor it is up to 1.3 times as fast where that multiplies bfloat16 by itself,
    and the losses of a real base were not equal to those in float32.
    """
    return asked == "bfloat16" or (asked == "auto" and device == "cuda")
