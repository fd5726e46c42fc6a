"""The order in which a page's lines are read: columns one after the other, however they are drawn."""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

from functions.extract_text.lines import Line, TextCell

_GUTTER = 0.8
"""White space between columns, in heights of the font."""
_WIDE = 40.0
"""Points at both sides of a gutter by which a line goes across it that belongs to no column."""
_LEVEL = 0.1
"""Distance of baselines, in heights of the font, below which they are one."""
_RAISED = 0.6
"""The same of a footnote's number."""
_MARK = 2
"""Digits of a footnote's number."""
_TOUCH = 0.3
"""Heights of the font by which what goes on may reach into what it follows."""
_SPACE = 0.15
"""White space between words, in heights of the font."""
_COLUMN_LINES = 4
"""Lines of a column, at least."""
_COLUMN_CHARACTERS = 18
"""Of a column's lines, as a median: what is shorter is a cell."""
_FILLED = 0.5
"""Share of a column's width that its lines fill, as a median."""


def ordered(lines: Sequence[Line]) -> list[Line]:
    """Return a page's lines in reading order: those in its usual direction first, then others, then aslant ones."""
    turns = sorted({line.turn for line in lines}, key=lambda turn: (turn is None, -_characters(lines, turn)))
    made: list[Line] = []
    for turn in turns:
        those = [line for line in lines if line.turn == turn]
        made += those if turn is None else _moved(list(_columns(list(_levelled(those)))))
    return made


def _levelled(lines: Sequence[Line]) -> Iterator[Line]:
    """Yield the lines with those together that go on at the same height: pdfium parts cells of a row at times.

    So it does with what follows a raised letter, and with a footnote and its number.
    """
    above: Line | None = None
    for line in lines:
        if above and line.turn == above.turn and line.left > above.right - _TOUCH * above.height:
            shift = abs(line.base - above.base)
            raised = above.height < line.height and above.text.isdigit() and len(above.text) <= _MARK
            if shift < _LEVEL * line.height or (raised and shift < _RAISED * line.height):
                above = _and(above, line, raised)
                continue
        if above:
            yield above
        above = line
    if above:
        yield above


def _and(above: Line, line: Line, raised: bool) -> Line:
    """Return a line with what goes on behind it: as a cell of its own, or within its last one."""
    gap = line.left - above.right
    if gap > above.height and not raised:
        return above.of(above.cells + line.cells)
    last, first = above.cells[-1], line.cells[0]
    between = " " if raised or gap > _SPACE * line.height else ""
    cells = (*above.cells[:-1], TextCell(last.left, first.right, last.text + between + first.text), *line.cells[1:])
    return (line if raised else above).of(cells)


def _characters(lines: Sequence[Line], turn: int | None) -> int:
    return sum(len(line.text) for line in lines if line.turn == turn)


def _columns(lines: Sequence[Line]) -> Iterator[Line]:
    """Yield the lines band by band, those of a band that has columns column by column."""
    gutter = _gutter(lines) if _stand_apart(lines) else None
    if gutter is None:
        yield from lines
        return
    parts = [part for line in lines for part in _cut(line, gutter)]
    across = sorted((part.base for part in parts if part.left < gutter < part.right), reverse=True)
    banded = groupby(sorted(parts, key=lambda part: _band(part, across, gutter)), lambda p: _band(p, across, gutter))
    bands = [list(group) for _, group in banded]
    if not any(_are_columns(band, gutter) for band in bands):
        yield from lines
        return
    for band in bands:
        if _are_columns(band, gutter):
            yield from _columns([part for part in band if part.right <= gutter])
            yield from _columns([part for part in band if part.right > gutter])
        else:
            yield from _levelled(band)


def _stand_apart(lines: Sequence[Line]) -> bool:
    """Return whether a line has cells, or two in turn have nothing of each other above or below them."""
    if any(len(line.cells) > 1 for line in lines):
        return True
    return any(one.right < two.left or two.right < one.left for one, two in pairwise(lines))


def _cut(line: Line, gutter: float) -> list[Line]:
    """Return the line's parts at both sides of the gutter."""
    left = tuple(cell for cell in line.cells if cell.right <= gutter)
    right = line.cells[len(left) :]
    return [line.of(cells) for cells in (left, right) if cells]


def _band(part: Line, across: Sequence[float], gutter: float) -> int:
    """Return the number of the band from the page's top: lines across the gutter are bands of their own."""
    above = bisect_left(across, -part.base, key=lambda base: -base)
    return 2 * above + 1 if part.left < gutter < part.right else 2 * above


def _gutter(lines: Sequence[Line]) -> float | None:
    """Return the middle of the white space that most text stands at both sides of, and least across."""
    cells = [cell for line in lines for cell in line.cells]
    if len(cells) < 2 * _COLUMN_LINES:
        return None
    lefts, rights = sorted(cell.left for cell in cells), sorted(cell.right for cell in cells)
    room = _GUTTER * statistics.median(line.height for line in lines)
    best, found = 0, None
    for edge in sorted({round(right, 1) + 0.1 for right in rights}):
        before, behind = bisect_right(rights, edge), len(lefts) - bisect_left(lefts, edge + room)
        most = min(before, behind)
        if most < _COLUMN_LINES or most <= best:
            continue
        across = len(cells) - before - behind
        if most - 3 * across <= best:  # lines across the whole page stand above and below columns
            across -= sum(cell.left < edge - _WIDE and cell.right > edge + room + _WIDE for cell in cells)
        if most - 3 * across > best:
            following = lefts[bisect_left(lefts, edge + room)]
            best, found = most - 3 * across, (edge + following) / 2
    return found


def _are_columns(band: Sequence[Line], gutter: float) -> bool:
    sides = [part for part in band if part.right <= gutter], [part for part in band if part.left >= gutter]
    return len(sides[0]) + len(sides[1]) == len(band) and all(map(_is_column, sides))


def _is_column(parts: Sequence[Line]) -> bool:
    if len(parts) < _COLUMN_LINES:
        return False
    width = max(part.right for part in parts) - min(part.left for part in parts)
    filled = statistics.median(part.right - part.left for part in parts)
    return statistics.median(len(part.text) for part in parts) >= _COLUMN_CHARACTERS and filled >= _FILLED * width


def _moved(lines: list[Line]) -> list[Line]:
    """Return the lines with what is drawn too late before what it stands above, or left of."""
    runs: list[list[Line]] = []
    for line in lines:
        if runs and line.base <= runs[-1][-1].base + 0.5 * line.height:
            runs[-1].append(line)
        else:
            runs.append([line])
    placed: list[tuple[tuple[float, float, float, float], list[Line]]] = []
    for run in runs:
        box = _box(run)
        at = next((at for at, (other, _) in enumerate(placed) if _precedes(box, other)), len(placed))
        placed.insert(at, (box, run))
    return [line for _, run in placed for line in run]


def _box(run: Sequence[Line]) -> tuple[float, float, float, float]:
    """Return left, bottom, right and top."""
    return (
        min(line.left for line in run),
        min(line.base for line in run),
        max(line.right for line in run),
        max(line.base + 0.7 * line.height for line in run),
    )


def _precedes(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    if one[1] >= other[3]:
        return one[0] < other[2] and other[0] < one[2]
    return one[3] > other[1] and one[2] <= other[0]
