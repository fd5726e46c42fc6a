"""One row of a file: its JSON, read strictly, and what was found in it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import msgspec

from contracts.events.files import RowError

ROW_BYTES = 16 * 2**20
_ROW_ERRORS = 1000  # a hostile row has millions

Shape = Literal["chat", "prompt_completion"]

_ENCODER = msgspec.json.Encoder()
_FAST = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class Fault:
    """What keeps a row from being read at all."""

    code: str
    message: str
    fatal: bool = False
    """Nothing behind it can be read."""


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
        where = f"Example {self.number}" + ("" if message is None else f", message {message + 1}")
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
        return _FAST.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # the slow parser says where and why
    try:
        return strict_loads(text.decode())
    except UnicodeDecodeError as error:
        return Fault("invalid_utf8", f"is not UTF-8: byte {error.start + 1} of the line. Save the file as UTF-8.")
    except json.JSONDecodeError as error:
        return Fault("invalid_json", f"is not JSON: {error.msg} at column {error.colno}.")
    except ValueError as error:
        return Fault("invalid_json", f"is not JSON: {error}.")
    except RecursionError:
        return Fault("invalid_json", "is nested too deeply.")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is out of range")
    return value


DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


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
