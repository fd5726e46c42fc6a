"""CSV as spreadsheets save it: whatever stands between cells, and in the encoding of an older Windows too."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

from functions.validate_file import row
from functions.validate_file.encoding import WINDOWS, guess, is_certain
from functions.validate_file.row import Fault, Rows, UnreadableFileError, short, strict_loads, why

HEADERS: dict[frozenset[str], tuple[str, str]] = {
    frozenset({"prompt", "completion"}): ("prompt", "completion"),
    frozenset({"question", "answer"}): ("question", "answer"),
    frozenset({"question", "answer", "context"}): ("question", "answer"),
}
"""CSV header → the columns of prompt and completion."""
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SEPARATOR = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)  # Excel's own first line
_SAMPLE = 2**16


class Lines:
    """Lines as the csv module wants them, with a limit on what one record may take."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.line = self.record_line = 0
        self._record_bytes = 0
        self.encoding = "utf-8"
        self._ascii = True

    def begin(self) -> None:
        """Say that the next line begins a record."""
        self.record_line, self._record_bytes = self.line + 1, 0

    def __iter__(self) -> Iterator[str]:
        while raw := self._stream.readline(row.ROW_BYTES + 2):
            self.line += 1
            self._record_bytes += len(raw)
            if self._record_bytes > row.ROW_BYTES:
                raise UnreadableFileError("row_too_long", f"The row at line {self.record_line} {row.TOO_LONG}")
            yield self._decoded(raw)

    def _decoded(self, raw: bytes) -> str:
        """Return a line's text; what is Windows-1252 and might as well be something else is refused."""
        try:
            text = raw.decode() if self.encoding == "utf-8" else _certain(raw)
        except UnicodeDecodeError as error:
            found = self._guess(raw)
            if self.encoding == "utf-8" and self._ascii and found == WINDOWS and is_certain(raw):
                self.encoding = WINDOWS
                return self._decoded(raw)
            looks = f"; it looks like {found}" if found else ""
            where = f"line {self.line}, byte {error.start + 1}{looks}"
            raise UnreadableFileError("invalid_utf8", f"The file is not UTF-8: {where}. Save it as UTF-8.") from error
        self._ascii = self._ascii and text.isascii()
        return text

    def _guess(self, raw: bytes) -> str | None:
        here = self._stream.tell()
        found = guess(raw + self._stream.read(_SAMPLE))
        self._stream.seek(here)
        return found


def _certain(raw: bytes) -> str:
    return raw.decode("cp1252") if is_certain(raw) else raw.decode()


def table(lines: Lines) -> Rows:
    """Yield the rows of a table whose header says which column is what."""
    csv.field_size_limit(row.ROW_BYTES)
    texts = iter(lines)
    first = next((text for text in texts if text.strip()), "")
    if named := _SEPARATOR.fullmatch(first):
        delimiter, first = named[1], next(texts, "")
    else:
        delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(chain([first], texts), delimiter=delimiter, strict=True)
    between = _DELIMITERS.get(delimiter, repr(delimiter))
    header: list[str] | None = None
    while True:
        if header is not None:
            lines.begin()
        try:
            record = next(reader, None)
        except csv.Error as error:
            if header is None:
                raise unknown(first) from error
            text = f"The row at line {lines.record_line} is not CSV: {error}. Quote cells that hold {between} or quotes"
            raise UnreadableFileError("invalid_csv", f"{text}, and double the quotes in them.") from error
        if record is None:
            return
        if not any(cell.strip() for cell in record):
            continue
        if header is None:
            header = _header(record)
            continue
        while len(record) > len(header) and not record[-1].strip():
            del record[-1]  # columns without a name that a spreadsheet saves along
        if len(record) != len(header):
            text = f"has {len(record)} cells, but the header has {len(header)}. Quote cells that hold {between}."
            yield lines.record_line, Fault("wrong_cells", text)
        else:
            yield lines.record_line, _cells(dict(zip(header, record, strict=True)))


def _header(record: list[str]) -> list[str]:
    header = [cell.strip().lower() for cell in record]
    while not header[-1]:
        del header[-1]
    if len(set(header)) == len(header) and (frozenset(header) in HEADERS or header == ["messages"]):
        return header
    wanted = [{"messages"}, *HEADERS]
    if not set().union(*wanted) & set(header):
        raise unknown(",".join(record))
    text = "The CSV header must be prompt,completion or question,answer or question,answer,context or messages"
    text = f"{text}; it is {short(','.join(record))}."
    fitting = next((columns for columns in wanted if columns <= set(header)), None)
    if fitting is not None:
        others = [short(cell, 30) or "(without a name)" for cell in header if cell not in fitting]
        text += f" Remove the column {', '.join(others[:5])}." if others else " A column stands in it twice."
    raise UnreadableFileError("bad_header", text)


def unknown(begins: str) -> UnreadableFileError:
    """Return the refusal of a file that is neither rows nor a table of them; `begins` is what stands first in it."""
    text = "Expected file to have JSONL format, where every line is a valid JSON dictionary"
    text += f", but it begins with '{row.short(begins.strip(), 60)}'"
    more = "A JSON list of chats works too, and CSV headed prompt,completion or question,answer[,context] or messages"
    return UnreadableFileError("unknown_format", f"{text}. {more}. A table to be learnt as a document goes into a ZIP.")


def _cells(cells: dict[str, str]) -> object:
    if "messages" in cells:
        try:
            messages = strict_loads(cells["messages"])
        except json.JSONDecodeError as error:
            return Fault("invalid_json", f"the cell 'messages' {why(cells['messages'], error, 'character')}")
        except (ValueError, RecursionError) as error:
            return Fault("invalid_json", f"the cell 'messages' is not JSON: {short(str(error))}.")
        return {"messages": messages}
    prompt, completion = HEADERS[frozenset(cells)]
    asked = cells[prompt]
    if cells.get("context", "").strip() and asked.strip():
        asked = f"{cells['context']}\n\n{asked}"
    return {"prompt": asked, "completion": cells[completion]}
