"""Readers of JSON lines, a JSON array and CSV: rows one by one, never more than one row's limit in memory."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from functions.validate_file.row import DECODER, ROW_BYTES, Fault, parse, short, strict_loads

Format = Literal["jsonl", "json", "csv"]
Rows = Iterator[tuple[int, object]]
"""(line, value or Fault)"""

CHUNK = 2**20
_SPACE = " \t\r\n"
_TOO_LONG = f"is longer than {ROW_BYTES // 2**20} MiB, the most that a row may have. Split it or remove it."
HEADERS: dict[frozenset[str], tuple[str, str]] = {
    frozenset({"prompt", "completion"}): ("prompt", "completion"),
    frozenset({"question", "answer"}): ("question", "answer"),
    frozenset({"question", "answer", "context"}): ("question", "answer"),
}
"""CSV header → the columns of prompt and completion."""


class UnreadableFileError(Exception):
    """The file as a whole cannot be read."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Opened:
    """A file whose format is known."""

    format: Format
    rows: Rows


def open_rows(stream: BinaryIO) -> Opened:
    """Return the rows of a file by what its first bytes say; UnreadableError when they say nothing known."""
    head = stream.read(4096)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in head[:4]:
        raise UnreadableFileError("utf16", "The file is UTF-16 or UTF-32. Save it as UTF-8.")
    start = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    stream.seek(start)
    first = head[start:].lstrip()[:1]
    while not first and (more := stream.read(CHUNK)):
        first = more.lstrip()[:1]
    stream.seek(start)
    if not first:
        raise UnreadableFileError("empty_file", "The file is empty. It needs at least one row.")
    if first == b"[":
        return Opened("json", _array(stream))
    if first == b"{":
        return Opened("jsonl", _lines(stream))
    return Opened("csv", _table(stream))


def _lines(stream: BinaryIO) -> Rows:
    line = 0
    while text := stream.readline(ROW_BYTES + 2):  # a line end may be CRLF
        line += 1
        if len(text) > ROW_BYTES and not text.endswith(b"\n"):
            while text and not text.endswith(b"\n"):
                text = stream.readline(CHUNK)
            yield line, Fault("row_too_long", _TOO_LONG)
        elif not text.isspace():
            yield line, parse(text)


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
                    column = error.pos - self.text.rfind("\n", 0, error.pos)
                    return Fault(
                        "invalid_json", f"is not JSON: {error.msg} at line {line} column {column}.", fatal=True
                    )
            except RecursionError:
                return Fault("invalid_json", f"is nested too deeply, near line {self.line}.", fatal=True)
            except ValueError as error:
                return Fault("invalid_json", f"is not JSON: {error}, near line {self.line}.", fatal=True)
            else:
                if end - self.pos > ROW_BYTES:
                    return Fault("row_too_long", _TOO_LONG, fatal=True)
                if end < len(self.text) or self.ended:
                    self.pos = end
                    return value
            if len(self.text) - self.pos > ROW_BYTES:
                return Fault("row_too_long", _TOO_LONG, fatal=True)
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
        window.peek()
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


class _TextLines:
    """Lines as the csv module wants them, with a limit on what one record may take."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.line = self.record_line = 0
        self._record_bytes = 0

    def begin(self) -> None:
        """Say that the next line begins a record."""
        self.record_line, self._record_bytes = self.line + 1, 0

    def __iter__(self) -> Iterator[str]:
        while raw := self._stream.readline(ROW_BYTES + 2):
            self.line += 1
            self._record_bytes += len(raw)
            if self._record_bytes > ROW_BYTES:
                raise UnreadableFileError("row_too_long", f"The row at line {self.record_line} {_TOO_LONG}")
            try:
                yield raw.decode()
            except UnicodeDecodeError as error:
                where = f"line {self.line}, byte {error.start + 1}"
                raise UnreadableFileError(
                    "invalid_utf8", f"The file is not UTF-8: {where}. Save it as UTF-8."
                ) from error


def _table(stream: BinaryIO) -> Rows:
    csv.field_size_limit(ROW_BYTES)
    lines = _TextLines(stream)
    reader = csv.reader(lines, strict=True)
    header: list[str] | None = None
    while True:
        lines.begin()
        try:
            record = next(reader, None)
        except csv.Error as error:
            if header is None:
                raise _unknown() from error
            text = f"The row at line {lines.record_line} is not CSV: {error}. Quote cells that hold commas or quotes."
            raise UnreadableFileError("invalid_csv", text) from error
        if record is None:
            return
        if not record or (len(record) == 1 and not record[0].strip()):
            continue
        if header is None:
            header = _header(record)
        elif len(record) != len(header):
            text = f"has {len(record)} cells, but the header has {len(header)}. Quote cells that hold commas."
            yield lines.record_line, Fault("wrong_cells", text)
        else:
            yield lines.record_line, _cells(dict(zip(header, record, strict=True)))


def _header(record: list[str]) -> list[str]:
    header = [cell.strip().lower() for cell in record]
    if len(set(header)) == len(header) and (frozenset(header) in HEADERS or header == ["messages"]):
        return header
    known = {"messages"}.union(*HEADERS)
    if not known & set(header):
        raise _unknown()
    text = "The CSV header must be prompt,completion or question,answer or question,answer,context or messages"
    raise UnreadableFileError("bad_header", f"{text}; it is {short(','.join(record))}.")


def _unknown() -> UnreadableFileError:
    text = "Expected file to have JSONL format, where every line is a valid JSON dictionary"
    more = "A JSON list of chats works too, and CSV headed prompt,completion or question,answer[,context] or messages"
    return UnreadableFileError("unknown_format", f"{text}. {more}.")


def _cells(cells: dict[str, str]) -> object:
    if "messages" in cells:
        try:
            messages = strict_loads(cells["messages"])
        except json.JSONDecodeError as error:
            return Fault("invalid_json", f"the cell 'messages' is not JSON: {error.msg} at character {error.pos + 1}.")
        except (ValueError, RecursionError) as error:
            return Fault("invalid_json", f"the cell 'messages' is not JSON: {short(str(error))}.")
        return {"messages": messages}
    prompt, completion = HEADERS[frozenset(cells)]
    asked = cells[prompt]
    if cells.get("context", "").strip() and asked.strip():
        asked = f"{cells['context']}\n\n{asked}"
    return {"prompt": asked, "completion": cells[completion]}
