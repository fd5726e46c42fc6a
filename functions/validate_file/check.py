"""Check every row of a file: `python -m functions.validate_file.check spec.json`.

The spec names three paths: `input`, `rows` (canonical chat JSON lines are written there) and `errors` (every error,
JSON lines). The verdict is printed as one JSON object. Memory does not grow with the file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, BinaryIO

from contracts.wire.batches import MAX_BYTES, MAX_LINES, PURPOSE
from functions._shared.child import answer
from functions.validate_file.batch import Requests
from functions.validate_file.core import SHOWN_ERRORS, check
from functions.validate_file.row import Checked, Fault, Shape, UnreadableFileError
from functions.validate_file.rows import open_rows

MAX_ERRORS = 100_000
MAX_ROWS = 10_000_000


def verdict(source: BinaryIO, rows: BinaryIO, errors: BinaryIO) -> dict[str, Any]:
    """Return the verdict on `source` as JSON, having written its rows and its errors."""
    shown: list[dict[str, Any]] = []
    count, number, has_tools = 0, 0, False
    shape: Shape | None = None
    try:
        opened = open_rows(source)
        for number, (line, value) in enumerate(opened.rows, 1):
            row = check(value, number, line, shape)
            shape = shape or row.shape
            has_tools = has_tools or bool(row.tools)
            count += _note(row, errors, shown)
            if not count:
                rows.write(row.encoded + b"\n")
            if count >= MAX_ERRORS or number >= MAX_ROWS or (isinstance(value, Fault) and value.fatal):
                break
    except UnreadableFileError as error:
        if not count:
            return _rejected(error.code, str(error), number, 0, [])
        return _rejected(shown[0]["code"], f"{_summary(shown, count)} {error}", number, count, shown)
    if count:
        return _rejected(shown[0]["code"], _summary(shown, count), number, count, shown)
    if number >= MAX_ROWS:
        return _rejected("too_many_rows", f"The file has {MAX_ROWS} rows or more. Split it.", number, 0, [])
    if shape is None:
        return _rejected("no_rows", "The file has no rows. It needs at least one.", 0, 0, [])
    return {
        "ok": True,
        "format": opened.format,
        "encoding": opened.encoding,
        "shape": shape,
        "rows": number,
        "has_tools": has_tools,
    }


def batch(source: BinaryIO, lines: BinaryIO, errors: BinaryIO) -> dict[str, Any]:
    """Return the verdict on a file of requests as JSON, having written them and their errors."""
    shown: list[dict[str, Any]] = []
    requests, count, number = Requests(), 0, 0
    try:
        opened = open_rows(source)
        if opened.format != "jsonl":
            text = "A file for a batch is JSON lines, a request in each: its first line must begin with {."
            return _rejected("unexpected_format", text, 0, 0, [])
        for number, (line, value) in enumerate(opened.rows, 1):
            if number > MAX_LINES:
                text = f"The file has more than {MAX_LINES} requests. Split it."
                return _rejected("too_many_rows", text, number, 0, [])
            request = requests.check(value, number, line)
            count += _note(request, errors, shown)
            if not count:
                lines.write(request.encoded + b"\n")
            if isinstance(value, Fault) and value.fatal:
                break
        size = source.tell()
    except UnreadableFileError as error:
        return _rejected(error.code, str(error), number, 0, [])
    if count:
        return _rejected(shown[0]["code"], _summary(shown, count), number, count, shown)
    if size > MAX_BYTES:
        return _rejected("file_too_large", f"The file is larger than {MAX_BYTES} bytes. Split it.", number, 0, [])
    if not number:
        return _rejected("no_rows", "The file has no requests. It needs at least one.", 0, 0, [])
    asked = {"url": requests.url, "model": requests.model}
    return {"ok": True, "format": "jsonl", "shape": "batch", "rows": number, "has_tools": False, **asked}


def _note(row: Checked, errors: BinaryIO, shown: list[dict[str, Any]]) -> int:
    for error in row.errors:
        body = error.model_dump(mode="json")
        errors.write(json.dumps(body, ensure_ascii=False).encode() + b"\n")
        if len(shown) < SHOWN_ERRORS:
            shown.append(body)
    return len(row.errors)


def _summary(shown: list[dict[str, Any]], count: int) -> str:
    first = f"Invalid file format. {shown[0]['message']}"
    stopped = "; the rows behind them were not checked" if count >= MAX_ERRORS else ""
    return first if count == 1 else f"{first} (and {count - 1} more errors{stopped})"


def _rejected(code: str, message: str, rows: int, count: int, shown: list[dict[str, Any]]) -> dict[str, Any]:
    return {"ok": False, "code": code, "message": message, "rows": rows, "n_errors": count, "errors": shown}


def main(spec: dict[str, Any]) -> dict[str, Any]:
    """Check the file that the spec names and return the verdict."""
    with (
        Path(spec["input"]).open("rb", buffering=2**20) as source,
        Path(spec["rows"]).open("wb", buffering=2**20) as rows,
        Path(spec["errors"]).open("wb") as errors,
    ):
        return (batch if spec.get("purpose") == PURPOSE else verdict)(source, rows, errors)


if __name__ == "__main__":
    sys.exit(answer(main))
