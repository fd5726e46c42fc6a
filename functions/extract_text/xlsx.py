"""Excel workbooks: the cells of visible sheets, rows and columns, each row with the names of its columns."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from contracts.events.corpus import Problem
from functions.extract_text.cells import shown
from functions.extract_text.core import MAX_COLUMNS, Extracted, UnreadableError, too_complex
from functions.extract_text.draft import DraftPiece, composed
from functions.extract_text.package import Package
from functions.extract_text.rows import is_header, row_text

MAX_CELLS = 2_000_000
_UNCOUNTED = re.compile(rb"<f(?:\s[^>]*)?(?:/>|>[^<]*</f>)\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>")
"""A formula without the value that it had."""


def read_xlsx(path: Path, package: Package) -> Extracted:
    """Return the rows of a workbook's sheets, each sheet below its name."""
    from openpyxl import load_workbook

    uncounted = sum(
        len(_UNCOUNTED.findall(package.bytes(name))) for name in package.names if name.startswith("xl/worksheets/")
    )
    problems = []
    if uncounted:
        message = f"{uncounted} formulas have no values. Open the workbook in Excel, save it and upload that."
        problems.append(Problem(code="unread_formula", message=message))
    if any(name.startswith("xl/charts/chart") for name in package.names):
        message = "The workbook's charts were not read; their numbers stand in its cells."
        problems.append(Problem(code="unread_chart", message=message))
    with path.open("rb") as file:  # a path without .xlsx at its end is refused
        book = load_workbook(file, data_only=True, keep_links=False)
        if not book.worksheets:
            raise ValueError("a workbook without sheets")
        sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        return composed((piece for sheet in sheets for piece in _sheet(sheet)), tuple(problems))


def _sheet(sheet: Any) -> Iterator[DraftPiece]:
    if sheet.max_column > 16_384 or sheet.max_row * sheet.max_column > 50 * MAX_CELLS:
        raise too_complex(f"{MAX_CELLS:,} cells")
    hidden = {
        column
        for each in sheet.column_dimensions.values()
        if each.hidden
        for column in range(each.min or 0, (each.max or 0) + 1)
    }
    yield from sheet_pieces(
        sheet.title,
        (
            [shown(cell.value, cell.number_format) for cell in row if cell.column not in hidden]
            for number, row in enumerate(sheet.iter_rows(), 1)
            if not sheet.row_dimensions[number].hidden
        ),
    )


def sheet_pieces(name: str, rows: Iterator[list[str]]) -> Iterator[DraftPiece]:
    """Yield a sheet's name and its tables, which blank rows part; what stands alone before one is its title."""
    yield DraftPiece("title", name, 1)
    header: dict[int, str] = {}
    block: list[list[str]] = []
    for row in rows:
        cells = [" ".join(cell.split()) for cell in row]
        if any(cells):
            block.append(cells)
        elif block:
            header = yield from _table(block, header)
            block = []
    if block:
        yield from _table(block, header)


def _table(block: Sequence[list[str]], before: dict[int, str]) -> Generator[DraftPiece, None, dict[int, str]]:
    """Yield the rows of one table and return its header by column; a blank row may part a table `before` from it."""
    used = [at for at in range(max(map(len, block))) if any(at < len(row) and row[at] for row in block)]
    if len(used) > MAX_COLUMNS:
        raise too_complex(f"{MAX_COLUMNS:,} columns")
    header: dict[int, str] | None = None
    for row in block:
        cells = [row[at] if at < len(row) else "" for at in used]
        alone = [cell for cell in cells if cell]
        if header is None and len(alone) == 1 and len(used) > 1:
            yield DraftPiece("text", alone[0])
            continue
        if header is None:
            named = len(used) > 1 and is_header(cells)
            same = used == list(before) and cells != list(before.values())
            goes_on = same or (set(used) < before.keys() and not named)
            header = before if goes_on else dict(zip(used, cells, strict=True)) if named else {}
            _refuse_rows(header.values())
            if named and not goes_on:
                continue
        names = [header.get(at, "") for at in used] if header else []
        yield DraftPiece("table" if len(used) > 1 else "list", row_text(names, cells).rstrip(" |"))
    return header or {}


def _refuse_rows(header: Iterable[str]) -> None:
    """Refuse a table of rows to train on: as a document it would be learnt by heart in another form."""
    names = {name.lower() for name in header}
    if names >= {"prompt", "completion"} or "messages" in names:
        message = "The sheet has the columns of rows to train on (prompt and completion, or messages). Save it as CSV."
        raise UnreadableError("rows_in_workbook", message)
