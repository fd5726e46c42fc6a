"""In which precision a model is trained: decided alike by who measures and by who trains."""

from __future__ import annotations

from functools import cache
from pathlib import Path

LEAST_PARAMETERS = 50_000_000
"""Of a base that gains by bfloat16 on a processor; a smaller one spends its time elsewhere."""
FAST = ("amx_bf16", "avx512_bf16")
"""What a processor has that multiplies bfloat16 by itself; the others emulate it, slower than fp32."""


def is_bfloat16(asked: str, device: str, parameters: int) -> bool:
    """Return whether `asked` (auto, float32, bfloat16) means bfloat16 for a base of so many parameters on a device."""
    if asked != "auto":
        return asked == "bfloat16"
    return device == "cuda" or (device == "cpu" and parameters >= LEAST_PARAMETERS and _is_fast())


@cache
def _is_fast() -> bool:
    about = Path("/proc/cpuinfo")
    flags = about.read_text().split() if about.exists() else []
    return any(flag in flags for flag in FAST)
