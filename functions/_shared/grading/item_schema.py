"""Rows against an eval's `item_schema`; `python -m functions._shared.grading.item_schema spec.json` prints a misfit.

The spec names `schema`, and `items` or `file`, whose lines are rows. A schema is a stranger's: its references lead to
nothing but itself, its regular expressions match in linear time, and what may take long is left to a limited child.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs

from functions._shared.child import answer

_MOST_AT_ONCE = 2**24
"""Bytes of a schema times bytes of rows, which take less than a tenth of a second."""
_READING = 2**8
"""As many bytes of rows take as long as the schema itself takes to be read."""
_COSTLY = re.compile(r'"(\$\w*[Rr]ef|pattern|unevaluated)')
"""What may take more steps than that: a schema is entered again, and texts are searched."""
_MOST_REGEX = 2**20
"""Bytes of one that is compiled."""
_SAID = 300


class TooCostlyError(Exception):
    """The schema takes too much time or memory."""


@dataclass(frozen=True)
class Misfit:
    """What does not fit first: a row, or the schema itself."""

    row: int | None
    """Its number from 0, in a file that of its line; None: the schema is no JSON schema."""
    place: str
    """Within row or schema, such as `.options[2]`."""
    problem: str
    """What is wrong, without the row's own values."""


def is_cheap(schema: Mapping[str, Any], items: Sequence[Any]) -> bool:
    """Return whether rows are checked in a moment, whatever they are."""
    text = json.dumps(schema)
    return not _COSTLY.search(text) and len(text) * (_READING + len(json.dumps(items))) <= _MOST_AT_ONCE


def first_misfit(schema: Mapping[str, Any], items: Iterable[tuple[int, Any]]) -> Misfit | None:
    """Return what does not fit first; formats are not looked at, as JSON Schema has it."""
    try:
        validator = jsonschema_rs.validator_for(
            dict(schema),
            validate_formats=False,
            mask="the value",
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_MOST_REGEX),
            offline=True,
        )
    except jsonschema_rs.ValidationError as error:
        return Misfit(None, _place(error.instance_path), _short(error.message))
    for row, item in items:
        try:
            validator.validate(item)
        except jsonschema_rs.ValidationError as error:
            missing = error.kind.as_dict().get("property") if error.kind.name == "required" else None
            return Misfit(row, _place([*error.instance_path, *([missing] if missing else [])]), _short(error.message))
    return None


def _place(path: Sequence[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step[:64]}" for step in path)[:_SAID]


def _short(message: str) -> str:
    return message if len(message) <= _SAID else message[: _SAID - 1] + "…"


def _lines(file: Path) -> Iterator[tuple[int, Any]]:
    """Yield the number and the item of each line that holds a row."""
    with file.open("rb") as content:
        for number, line in enumerate(content, 1):
            if row := line.removeprefix(b"\xef\xbb\xbf").strip():
                yield number, json.loads(row)["item"]


def _check(spec: dict[str, Any]) -> dict[str, Any] | None:
    items = enumerate(spec["items"]) if spec["file"] is None else _lines(Path(spec["file"]))
    misfit = first_misfit(spec["schema"], items)
    return None if misfit is None else vars(misfit)


if __name__ == "__main__":
    sys.exit(answer(_check))
