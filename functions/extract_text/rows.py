"""Tables and records: every row of CSV, JSON and JSONL becomes one line that can be read by itself."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from contracts.events.corpus import Problem
from functions.extract_text.core import (
    MAX_CHARACTERS,
    MAX_COLUMNS,
    MAX_PROBLEMS,
    Extracted,
    UnreadableError,
    too_complex,
)
from functions.extract_text.decode import decoded
from functions.extract_text.draft import DraftPiece, composed

_DELIMITERS = ",;\t|"


def read_csv(data: bytes) -> Extracted:
    """Return the rows of a CSV file as `column: value` pairs, or its cells where it has no header."""
    text, problems = decoded(data)
    return composed(_table(text), problems)


def read_json(data: bytes) -> Extracted:
    """Return the items of a JSON list, or the entries of a JSON object."""
    text, problems = decoded(data)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UnreadableError("broken_document", f"The document is not JSON: {error.msg} at {where}.") from error
    except ValueError as error:
        raise UnreadableError(
            "broken_document", "The document is not JSON: it has a number of too many digits."
        ) from error
    items = [{name: item} for name, item in value.items()] if isinstance(value, dict) and not _chat(value) else value
    return composed(map(_piece, items if isinstance(items, list) else [items]), problems)


def read_jsonl(data: bytes) -> Extracted:
    """Return the rows of a JSONL file; a line that is not JSON is a problem and left out."""
    text, guessed = decoded(data)
    problems = list(guessed)
    pieces = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            pieces.append(_piece(json.loads(line)))
        except ValueError:
            if len(problems) < MAX_PROBLEMS:
                message = f"Line {number} is not JSON and was left out. Correct it and upload the document again."
                problems.append(Problem(code="broken_row", message=message))
    return composed(pieces, tuple(problems))


def _table(text: str) -> Iterator[DraftPiece]:
    csv.field_size_limit(MAX_CHARACTERS)
    first = text.lstrip("\n").partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    if first.count(delimiter) >= MAX_COLUMNS:
        raise too_complex(f"{MAX_COLUMNS:,} columns")
    header: list[str] | None = None
    try:
        for record in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            cells = [" ".join(cell.split()) for cell in record]
            if len(cells) > MAX_COLUMNS:
                raise too_complex(f"{MAX_COLUMNS:,} columns")
            if not any(cells):
                continue
            if header is None:
                header = cells if is_header(cells) else []
                if header:
                    continue
            yield DraftPiece("table", row_text(header, cells))
    except csv.Error as error:
        raise UnreadableError("broken_document", f"The document is not CSV: {error}. Save it as CSV again.") from error


def is_header(cells: list[str]) -> bool:
    """Return whether a table's first row names its columns."""
    return all(cells) and len(set(cells)) == len(cells) and not any(cell[0].isdigit() for cell in cells)


def row_text(header: list[str], cells: list[str]) -> str:
    """Return a row as a line that can be read by itself."""
    if len(cells) > len(header):
        return " | ".join(cells)
    return "; ".join(f"{name}: {cell}" for name, cell in zip(header, cells, strict=False) if cell)


def _piece(value: object) -> DraftPiece:
    if isinstance(value, dict) and _chat(value):
        return DraftPiece("list", "\n".join(_message(message) for message in value["messages"]))
    pairs = [f"{path}: {leaf}" if path else leaf for path, leaf in _leaves(value)]
    flat = isinstance(value, dict) and not any(isinstance(item, dict | list) for item in value.values())
    return DraftPiece("table", "; ".join(pairs)) if flat else DraftPiece("list", "\n".join(pairs))


def _chat(value: dict[str, Any]) -> bool:
    messages = value.get("messages")
    return isinstance(messages, list) and bool(messages) and all(isinstance(item, dict) for item in messages)


def _message(message: dict[str, Any]) -> str:
    said = " ".join(leaf for _, leaf in _leaves(message.get("content")))
    return f"{message.get('role', 'unknown')}: {said}"


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each value that is no object and no list, with the names that lead to it."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, path)
    elif value is not None and value != "":
        yield path, value if isinstance(value, str) else json.dumps(value)
