"""One row of a file: its JSON, read strictly, and what was found in it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import msgspec

from contracts.events.files import RowError
from contracts.wire.body import RepeatedNameError, unique

ROW_BYTES = 16 * 2**20
_ROW_ERRORS = 1000  # a hostile row has millions

TOO_LONG = f"is longer than {ROW_BYTES // 2**20} MiB, the most that a row may have. Split it or remove it."
Rows = Iterator[tuple[int, object]]
"""(line, value or Fault)"""
_PYTHON = re.compile(r"'|None\b|True\b|False\b")

Shape = Literal["chat", "prompt_completion"]

_ENCODER = msgspec.json.Encoder()
_FAST = msgspec.json.Decoder()


class UnreadableFileError(Exception):
    """The file as a whole cannot be read."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Fault:
    """What keeps a row from being read at all."""

    code: str
    message: str
    fatal: bool = False
    """Nothing behind it can be read."""
    cut: bool = False
    """It ends before its JSON does."""


@dataclass(slots=True)
class Checked:
    """A row after its check: what is written of it, or what is wrong with it."""

    number: int
    """1-based among the rows."""
    line: int
    shape: Shape | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    tools: list[Any] | None = None
    errors: list[RowError] = field(default_factory=list)
    encoded: bytes = b""
    """The canonical row as one JSON line without its line end, once nothing is wrong with it."""

    def wrong(self, code: str, text: str, path: str = "", message: int | None = None) -> None:
        """Note an error; `message` is the 0-based index of the message it is in."""
        if len(self.errors) >= _ROW_ERRORS:
            return
        where = f"Example {self.number}" + ("" if self.line == self.number else f" (line {self.line})")
        where += "" if message is None else f", message {message + 1}"
        self.errors.append(RowError(line=self.line, path=path, code=code, message=f"{where} {text}"))

    def encode(self) -> None:
        """Fill `encoded`; UnicodeEncodeError for a lone surrogate."""
        row: dict[str, Any] = {"messages": self.messages}
        if self.tools:
            row["tools"] = self.tools
        row["line"] = self.line
        self.encoded = _ENCODER.encode(row)


def parse(text: bytes) -> object:
    """Return the JSON value of one row, or a Fault that names byte or column."""
    try:
        value = _FAST.decode(text)
        # A name that stands twice is lost with its colon, and no colon comes from anywhere but an escape.
        if b"\\u003" not in text and text.count(b":") == _ENCODER.encode(value).count(b":"):
            return value
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass  # the slow parser says where and why
    try:
        decoded = text.decode()
        return strict_loads(decoded)
    except UnicodeDecodeError as error:
        return Fault("invalid_utf8", f"byte {error.start + 1}")
    except json.JSONDecodeError as error:
        cut = error.msg.startswith("Unterminated") or error.pos >= len(decoded.rstrip())
        return Fault("invalid_json", why(decoded, error, "column"), cut=cut)
    except RepeatedNameError as error:
        return Fault("duplicate_key", repeated(error))
    except ValueError as error:
        return Fault("invalid_json", f"is not JSON: {error}.")
    except RecursionError:
        return Fault("invalid_json", "is nested too deeply.")


def why(text: str, error: json.JSONDecodeError, place: str) -> str:
    """Return what is wrong with JSON and what to do; `place` is what the column is named by."""
    behind, before = text[error.pos : error.pos + 16].lstrip(), text[: error.pos].rstrip()[-1:]
    column = error.pos - text.rfind("\n", 0, error.pos)
    at = f"{place} {column}"
    if behind.startswith("\0"):
        return f"is no text: a NUL byte stands at {at}. Remove it, or write the file again."
    if error.msg == "Extra data":
        if behind.startswith(","):
            return f"has a comma behind its object, at {at}: rows are not separated by commas, a line is a row."
        if behind.startswith("{"):
            return f"is more than one object: the next begins at {at}. Put a line break between rows."
    if _PYTHON.match(behind):
        return f"is written as Python writes it, not JSON, at {at}. Write it by json.dumps."
    if error.msg.startswith("Invalid control"):
        return f"has a line break or another control character within a text, at {at}. Write it as JSON does: \\n, \\t."
    if before == "," and behind[:1] in ("}", "]"):
        return f"has a comma too many before the bracket at {at}. Remove it."
    if error.msg.startswith("Unterminated") or not behind:
        return f"ends before its JSON does: {error.msg} at {at}. Write the row again, whole and in one line."
    return f"is not JSON: {error.msg} at {at}."


def repeated(error: RepeatedNameError) -> str:
    """Return what is wrong with an object that has a name twice."""
    return f"is not clear: {error}. Keep one of the two."


def wrapped(name: str) -> str:
    """Return what is wrong with an object that holds the rows."""
    what = f"is an object around a list of rows ({shown(name)}), but a row is one line"
    return f"{what}. Upload the list itself, or each row on a line of its own."


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is out of range")
    return value


DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite, object_pairs_hook=unique)


def strict_loads(text: str) -> object:
    """Return the JSON value of `text`; ValueError also for NaN, infinities and numbers beyond a double."""
    return DECODER.decode(text)


def short(text: str, limit: int = 80) -> str:
    """Return `text` fit for an error message: printable and not long."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    return cut if cut.isprintable() else ascii(cut)


def shown(value: object) -> str:
    return ascii(value if isinstance(value, str | int | float | None) else kind_of(value))[:60]


def kind_of(value: object) -> str:
    names = {bool: "a boolean", str: "a string", list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), "a number") if value != [] else "an empty list"
