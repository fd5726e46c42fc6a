"""The child's side of a stage: it reads a spec, prints what it found as JSON, and says when memory ran out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

OUT_OF_MEMORY = 3
"""Exit status."""


def answer(do: Callable[[dict[str, Any]], object]) -> int:
    """Print what `do` returns for the spec that the first argument names; return the exit status."""
    try:
        print(json.dumps(do(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
    except BaseException as error:
        # Out of memory, a library in Rust panics instead; that class cannot be imported.
        if isinstance(error, MemoryError) or type(error).__name__ == "PanicException":
            return OUT_OF_MEMORY
        raise
    return 0
