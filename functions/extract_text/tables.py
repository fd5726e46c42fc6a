"""Rows of tables, which a PDF does not mark: lines whose parts begin at the same places."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from functions.extract_text.lines import Line, TextCell, aligned

Joined = Callable[[str, str], str]
"""Two lines of a cell to its text."""

_SAME_LEFT = 3.0
"""Points by which the parts of a column may begin apart."""
_NEXT = 1.6
"""Distance of the lines of a cell, in heights of the font, at most."""
_AHEAD = 4
"""Lines of a first cell behind which its row goes on."""


def tabled(lines: Sequence[Line | None], joined: Joined) -> tuple[dict[int, Line], set[int]]:
    """Return the rows of tables by the index of their first line, and the indexes of the lines that are in them.

    A cell may have several lines, and the others stand at the height of any of them. None is a line that was left out.
    """
    rows: dict[int, Line] = {}
    taken: set[int] = set()
    seeds = _seeds(lines)
    for first, stop in _regions(lines, seeds):
        columns = _columns([lines[at] for at in range(first, stop) if at in seeds])
        for members in _grouped(lines, first, stop, columns):
            row = _row([line for at in members if (line := lines[at])], columns, joined)
            if len(row.cells) > 1:
                rows[members[0]] = row
                taken |= set(members)
    return rows, taken


def _seeds(lines: Sequence[Line | None]) -> set[int]:
    """Return the indexes of two and more lines in turn whose parts begin at the same places."""
    seeds: set[int] = set()
    for at, (upper, lower) in enumerate(itertools.pairwise(lines)):
        if upper is None or lower is None or len(upper.cells) < 2 or len(lower.cells) < 2:
            continue
        # cells may be set to the right or in the middle
        if aligned(upper, lower) >= 2 or len(upper.cells) == len(lower.cells) > 2:
            seeds |= {at, at + 1}
    return seeds


def _regions(lines: Sequence[Line | None], seeds: set[int]) -> Iterator[tuple[int, int]]:
    """Yield [first, stop) of the lines around `seeds` that fit their columns."""
    done = 0
    for seed in sorted(seeds):
        if seed < done:
            continue
        first, stop = seed, seed + 1
        while stop in seeds:
            stop += 1
        columns = _columns(lines[first:stop])
        while first > done and _fits(lines[first - 1], columns):
            first -= 1
        while stop < len(lines) and (stop in seeds or _fits(lines[stop], columns)):
            if stop in seeds:
                columns = sorted({*columns, *_columns(lines[stop : stop + 1])})
            stop += 1
        yield first, stop
        done = stop


def _columns(lines: Sequence[Line | None]) -> list[float]:
    """Return where columns begin, from left to right."""
    columns: list[float] = []
    for left in sorted(cell.left for line in lines if line for cell in line.cells):
        if not columns or left - columns[-1] > _SAME_LEFT:
            columns.append(left)
    return columns


def _column(left: float, columns: Sequence[float]) -> int | None:
    return next((at for at, column in enumerate(columns) if abs(left - column) <= _SAME_LEFT), None)


def _fits(line: Line | None, columns: Sequence[float]) -> bool:
    """Return whether each part of a line begins in a column and ends before the next."""
    if line is None:
        return False
    for cell in line.cells:
        at = _column(cell.left, columns)
        if at is None or (at + 1 < len(columns) and cell.right > columns[at + 1]):
            return False
    return True


def _grouped(lines: Sequence[Line | None], first: int, stop: int, columns: Sequence[float]) -> Iterator[list[int]]:
    """Yield the indexes of the lines of each row."""
    members: list[int] = []
    for at in range(first, stop):
        if members and not _goes_on(lines, members, at, stop, columns):
            yield members
            members = []
        members.append(at)
    if members:
        yield members


def _goes_on(
    lines: Sequence[Line | None], members: Sequence[int], at: int, stop: int, columns: Sequence[float]
) -> bool:
    """Return whether the line `at` belongs to the row of the lines `members` above it."""
    above, line = lines[members[-1]], lines[at]
    if above is None or line is None:
        return False
    last, begin = _column(above.cells[-1].left, columns), _column(line.left, columns)
    if last is None or begin is None:
        return False
    lowest = min(row.base for member in members if (row := lines[member]))
    if begin > last:
        return line.base > lowest - 1
    if begin != last or len(line.cells) > 1 or not 0 < above.base - line.base <= _NEXT * line.height:
        return False
    if begin > 0:
        return True
    following = (lines[next_at] for next_at in range(at + 1, min(at + _AHEAD, stop)))
    return any(other and other.left > columns[0] + _SAME_LEFT and other.base > line.base + 1 for other in following)


def _row(lines: Sequence[Line], columns: Sequence[float], joined: Joined) -> Line:
    """Return the lines of a row as one, with its cells whole."""
    if len(lines) == 1:
        return lines[0]
    cells: dict[int, TextCell] = {}
    for cell in (cell for line in lines for cell in line.cells):
        at = _column(cell.left, columns) or 0
        before = cells.get(at)
        if before is None:
            cells[at] = cell
        else:
            cells[at] = TextCell(before.left, max(before.right, cell.right), joined(before.text, cell.text))
    return lines[0].of(tuple(cells[at] for at in sorted(cells)))
