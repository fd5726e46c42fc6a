"""Readers of JSON lines, a JSON array and CSV: rows one by one, never more than one row's limit in memory."""

from __future__ import annotations

import codecs
import io
import json
import re
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from contracts.formats import foreign
from contracts.wire.body import RepeatedNameError
from functions.validate_file import row
from functions.validate_file.encoding import guess, wide
from functions.validate_file.row import (
    DECODER,
    TOO_LONG,
    Fault,
    Rows,
    UnreadableFileError,
    parse,
    repeated,
    short,
    why,
    wrapped,
)
from functions.validate_file.table import Lines, table

Format = Literal["jsonl", "json", "csv"]

CHUNK = 2**20
_SPACE = " \t\r\n"
_HEAD = 4096
_AROUND = re.compile(rb'\s*\{\s*"((?!messages")[^"\\]{1,64})"\s*:\s*\[\s*[{\[]')
"""The beginning of an object around a list of rows."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A file whose format is known."""

    format: Format
    rows: Rows
    lines: Lines | None = None
    """Of a table: once all rows are read they know its encoding."""

    @property
    def encoding(self) -> str:
        """What the rows were read as."""
        return self.lines.encoding if self.lines else "utf-8"


def open_rows(stream: BinaryIO) -> Opened:
    """Return the rows of a file by what its first bytes say; UnreadableFileError when they say nothing known."""
    head = stream.read(_HEAD)
    if (skip := foreign(head)) is not None:
        raise UnreadableFileError("unsupported_file", f"The file holds no rows. {skip.message}")
    if (found := wide(head)) is not None:
        text = f"The file is {found}, as PowerShell's > and Excel's Unicode text write it. Save it as UTF-8."
        raise UnreadableFileError("utf16", text)
    start = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    stream.seek(start)
    first = head[start:].lstrip()[:1]
    while not first and (more := stream.read(CHUNK)):
        first = more.lstrip()[:1]
    stream.seek(start)
    if not first:
        raise UnreadableFileError("empty_file", "The file is empty. It needs at least one row.")
    if b"\n" not in head and b"\r" in head[: _HEAD - 1]:  # one at its end may be half of a CRLF
        stream = io.BufferedReader(_CarriageReturns(stream), CHUNK)
    if first == b"[":
        return Opened("json", _array(stream))
    if first == b"{":
        return Opened("jsonl", _lines(stream))
    lines = Lines(stream)
    return Opened("csv", table(lines), lines)


class _CarriageReturns(io.RawIOBase):
    """A text whose lines end as those of old Macs did, with line feeds instead."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: Any, /) -> int:
        data = self._stream.read(len(buffer)).replace(b"\r", b"\n")
        buffer[: len(data)] = data
        return len(data)


def _lines(stream: BinaryIO) -> Rows:
    line, looks = 0, ""
    while text := stream.readline(row.ROW_BYTES + 2):  # a line end may be CRLF
        line += 1
        if len(text) > row.ROW_BYTES and not text.endswith(b"\n"):
            while text and not text.endswith(b"\n"):
                text = stream.readline(CHUNK)
            yield line, Fault("row_too_long", TOO_LONG)
        elif not text.isspace():
            value = parse(text.removeprefix(codecs.BOM_UTF8))  # files that were joined have marks in the middle
            if isinstance(value, Fault) and value.code == "invalid_utf8":
                looks = looks or _looks(text + _ahead(stream))
                value = Fault(value.code, f"is not UTF-8: line {line}, {value.message}.{looks} Save the file as UTF-8.")
            elif isinstance(value, Fault) and value.cut:
                value = _spanning(text, _ahead(stream)) or value
            yield line, value


def _ahead(stream: BinaryIO) -> bytes:
    here = stream.tell()
    ahead = stream.read(_HEAD)
    stream.seek(here)
    return ahead


def _looks(sample: bytes) -> str:
    found = guess(sample)
    return f" It looks like {found}." if found else " It is of another encoding."


def _spanning(text: bytes, ahead: bytes) -> Fault | None:
    """Return the fault of a line whose row goes on in those `ahead`; None where the next line begins a row."""
    if not ahead.strip() or ahead.lstrip().startswith(b"{"):
        return None
    if around := _AROUND.match(text + ahead):
        return Fault("row_spans_lines", wrapped(around[1].decode(errors="replace")), fatal=True)
    what = "is spread over several lines, but a row is one line. Write each row without line breaks (in Python by"
    return Fault("row_spans_lines", f"{what} json.dumps, in text as \\n), or all of them as one JSON list.", fatal=True)


class _Window:
    """A text of any length through a window of what is not yet read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._decoder = stream, codecs.getincrementaldecoder("utf-8")()
        self.text, self.pos, self.ended = "", 0, False
        self._lines, self._read = 1, 0

    @property
    def line(self) -> int:
        """The line of the next character, 1-based."""
        return self._lines + self.text.count("\n", 0, self.pos)

    def more(self) -> None:
        """Read on, at least doubling what is there, so that a long row costs linear time."""
        self._lines = self.line
        rest = self.text[self.pos :]
        chunk = self._stream.read(max(CHUNK, len(rest)))
        self.ended = not chunk
        try:
            text = self._decoder.decode(chunk, final=self.ended)
        except UnicodeDecodeError as error:
            line = self._lines + rest.count("\n") + error.object.count(b"\n", 0, error.start)
            where = f"byte {self._read + error.start + 1} after the byte order mark, if any, near line {line}"
            raise UnreadableFileError("invalid_utf8", f"The file is not UTF-8: {where}. Save it as UTF-8.") from error
        self._read += len(chunk)
        self.text, self.pos = rest + text, 0

    def peek(self) -> str:
        """Return the next character that is not white space, without reading it; empty at the end."""
        while True:
            while self.pos < len(self.text) and self.text[self.pos] in _SPACE:
                self.pos += 1
            if self.pos < len(self.text) or self.ended:
                return self.text[self.pos : self.pos + 1]
            self.more()

    def value(self) -> object:
        """Return the next JSON value, or a fatal Fault."""
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.pos)
            except json.JSONDecodeError as error:
                # Only an error at the window's edge, or a string that does not end, may be the edge's doing.
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self.text) - 16
                if self.ended or not cut:
                    line = self._lines + self.text.count("\n", 0, error.pos)
                    return Fault("invalid_json", why(self.text, error, f"line {line} column"), fatal=True)
            except RecursionError:
                return Fault("invalid_json", f"is nested too deeply, near line {self.line}.", fatal=True)
            except RepeatedNameError as error:
                return Fault("duplicate_key", repeated(error), fatal=True)
            except ValueError as error:
                return Fault("invalid_json", f"is not JSON: {error}, near line {self.line}.", fatal=True)
            else:
                if end - self.pos > row.ROW_BYTES:
                    return Fault("row_too_long", TOO_LONG, fatal=True)
                if end < len(self.text) or self.ended:
                    self.pos = end
                    return value
            if len(self.text) - self.pos > row.ROW_BYTES:
                return Fault("row_too_long", TOO_LONG, fatal=True)
            self.more()


def _array(stream: BinaryIO) -> Rows:
    window = _Window(stream)
    window.peek()
    window.pos += 1  # the opening bracket
    if window.peek() == "]":
        return
    number = 0
    while True:
        number += 1
        if window.peek() == "]":
            text = f"is missing: a comma too many stands before the list's end at line {window.line}. Remove it."
            yield number, Fault("invalid_json", text, fatal=True)
            return
        value = window.value()
        yield number, value
        if isinstance(value, Fault):
            return
        mark = window.peek()
        window.pos += 1
        if mark == "]":
            if window.peek():
                yield (
                    number + 1,
                    Fault("invalid_json", f"stands behind the list's end, line {window.line}.", fatal=True),
                )
            return
        if mark != ",":
            found = repr(mark) if mark else "the file's end"
            text = f"is not separated by a comma from the one before: {short(found)} at line {window.line}."
            yield number + 1, Fault("invalid_json", text, fatal=True)
            return
