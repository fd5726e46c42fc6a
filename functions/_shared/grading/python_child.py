"""Run a grader's own code: `python -m functions._shared.grading.python_child spec.json`.

The spec names `source`, and `rows`: a list of `{"sample": …, "item": …}`. Printed is one JSON object: `confined`
(false: this machine cannot hold the code, which then was not run), `broken` (why the code is no grader, or null) and
`rows`: `{"score": number}` or `{"error": text}` for each.

The code is a stranger's. From the moment before it is read, the kernel lets this process calculate, use memory it is
limited to, and write to what is open: it opens no file and no socket, starts no process and no thread, signals nobody.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import resource
import sys
import traceback
from pathlib import Path
from typing import Any

from functions._shared.seccomp import allow_only

MODULES = (
    "_strptime bisect collections.abc copy dataclasses datetime decimal difflib encodings.ascii encodings.latin_1 enum "
    "fractions functools hashlib heapq itertools json math operator random rapidfuzz.distance rapidfuzz.fuzz "
    "rapidfuzz.process re statistics string textwrap time typing unicodedata"
)
"""What the code may import: what is not here before it is read cannot be found later."""
SECONDS = 30
"""Of calculation, for all rows together."""
_SAID = 400
"""Characters of what went wrong."""
_NAME = "grader.py"


def main() -> int:
    """Grade what the spec names and print the scores."""
    for name in MODULES.split():
        importlib.import_module(name)
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    confined = allow_only()
    told = sys.stdout
    if confined:
        sys.stdout = sys.stderr = _Nowhere()
    found = {"confined": True, **_graded(spec["source"], spec["rows"])} if confined else {"confined": False}
    told.write(json.dumps(found))
    told.flush()
    os._exit(0)  # nothing that the code left behind runs any more


class _Nowhere:
    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None: ...


def _graded(source: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "grader"}
    try:
        exec(compile(source, _NAME, "exec"), space)  # noqa: S102  what this child is for
    except BaseException as error:  # noqa: BLE001  the code may raise anything
        return {"broken": _said(error), "rows": []}
    grade = space.get("grade")
    if not callable(grade):
        return {"broken": "There is no function grade(sample, item) in it.", "rows": []}
    return {"broken": None, "rows": [_row(grade, each) for each in rows]}


def _row(grade: Any, row: dict[str, Any]) -> dict[str, Any]:
    try:
        score = grade(row["sample"], row["item"])
        if isinstance(score, bool | int | float) and math.isfinite(score) and abs(score) <= 1e300:
            return {"score": float(score)}
        return {"error": f"grade(sample, item) must return a finite number, not {type(score).__name__}."}
    except BaseException as error:  # noqa: BLE001
        return {"error": _said(error)}


def _said(error: BaseException) -> str:
    """Return what went wrong, and in which line of the code."""
    try:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _NAME]
        at = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        hint = ""
        if isinstance(error, ImportError | PermissionError):
            hint = (
                " A grader has the standard library's modules of text and numbers and rapidfuzz, no files, no network."
            )
        where = f"Line {at}: " if at is not None else ""
        return f"{where}{type(error).__name__}: {str(error)[:_SAID]}{hint}"
    except BaseException:  # noqa: BLE001  the error is of the code's own making, too
        return "The code raised what cannot be shown."


if __name__ == "__main__":
    sys.exit(main())
