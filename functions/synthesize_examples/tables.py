"""Rows of a document's tables as cells with the names of their columns."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contracts.corpus import Element, Page, Span, plain_text

Cell = tuple[str, str]
"""Column and value."""

_PAIR = re.compile(r"(?:^|;\s+)([A-Za-z][\w /()%.&-]{0,40}?):\s+(?=\S)")
_NO_NOUN = re.compile(r"(?i)(?:is|has|can|where|what|when|who|why|how|says|does|means)\b")
_BAR = " | "
_MAX_VALUE = 200


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table."""

    cells: tuple[Cell, ...]
    text: str
    """White space plain."""
    span: Span


class Tables:
    """The rows of a document: `column: value; column: value`, or `value | value` under a row of names."""

    def __init__(self, pages: Sequence[Page], elements: Sequence[Element]) -> None:
        by_number = {page.number: page.text for page in pages}
        self._rows: dict[int, list[TableRow]] = {}
        header: list[str] = []
        before: Element | None = None
        for element in sorted(elements, key=lambda element: (element.span.page, element.span.start)):
            if element.kind == "table":
                span = element.span
                text = plain_text(by_number[span.page][span.start : span.end])
                if before is None or before.kind != "table":
                    header = _header(text)
                    cells = _pairs(text)
                else:
                    cells = _pairs(text) or _under(header, text)
                if len(cells) > 1:
                    self._rows.setdefault(span.page, []).append(TableRow(tuple(cells), text, span))
            before = element
        self._starts = {page: [row.span.start for row in found] for page, found in self._rows.items()}
        self._values = Counter(cell for found in self._rows.values() for row in found for cell in set(row.cells))

    def inside(self, span: Span) -> list[TableRow]:
        """Return the rows that lie in `span` as a whole."""
        starts = self._starts.get(span.page, [])
        found = self._rows.get(span.page, [])[bisect_left(starts, span.start) : bisect_left(starts, span.end)]
        return [row for row in found if row.span.end <= span.end]

    def pairs(self, row: TableRow, asked: Callable[[str, str, str], str]) -> list[tuple[str, str]]:
        """Return question and answer for each cell beside the one that names the row; none where nothing names it."""
        keys = [row.cells[0], *filter(_identifies, row.cells[1:])]
        key = next((cell for cell in keys if _names_row(cell) and self._values[cell] == 1), None)
        if key is None:
            return []
        column, value = key
        of = "" if re.search(r"name|title|bezeichnung|titel", column, re.IGNORECASE) else _words(column)
        return [
            (asked(_words(name), of, value), answer)
            for name, answer in row.cells
            if (name, answer) != key and _tells(name, answer)
        ]


def _pairs(text: str) -> list[Cell]:
    found = list(_PAIR.finditer(text))
    if not found or found[0].start() != 0:
        return []
    ends = [*(pair.start() for pair in found[1:]), len(text)]
    return [(pair.group(1).strip(), text[pair.end() : end].strip(" ;")) for pair, end in zip(found, ends, strict=True)]


def _header(text: str) -> list[str]:
    """Return the columns that a first row names; none where it holds values already."""
    names = [name.strip() for name in text.split(_BAR)]
    distinct = len(set(names)) == len(names) > 1
    return names if distinct and all(re.match(r"[A-Za-z].{0,40}\Z", name) for name in names) else []


def _under(header: Sequence[str], text: str) -> list[Cell]:
    values = [value.strip() for value in text.split(_BAR)]
    return list(zip(header, values, strict=True)) if len(values) == len(header) else []


def _identifies(cell: Cell) -> bool:
    return re.search(r"(?i)\b(?:id|no|number|nr|code|key|sku|name|title)\b", _words(cell[0])) is not None


def _names_row(cell: Cell) -> bool:
    """Return whether a cell may name its row: letters or an identifier, no date, no sentence."""
    value = cell[1]
    if _NO_NOUN.match(_words(cell[0])):
        return False
    named = _identifies(cell) or (any(map(str.isalpha, value)) and not value[:1].isdigit())
    return named and 1 < len(value) <= 60 and len(value.split()) <= 8 and value[-1] not in ".!?:"


def _tells(column: str, value: str) -> bool:
    known = any(map(str.isalnum, value)) and value.lower() not in ("n/a", "na", "none", "null", "nan")
    return known and len(value) <= _MAX_VALUE and not _NO_NOUN.match(_words(column))


def _words(column: str) -> str:
    """Return a column's name as words: `unitPrice` and `unit_price` are `unit Price` and `unit price`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[_\s]+", " ", column).strip()
