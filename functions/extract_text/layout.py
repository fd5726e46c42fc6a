"""Lines of a PDF's pages to headings, paragraphs, list items and rows of tables; what repeats on pages is left out."""

from __future__ import annotations

import itertools
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from contracts.corpus import Element, Kind, Span
from functions.extract_text.plain import BULLET, heading_level, numbered_level

MARGIN = 0.12
"""Share of a page's height, at its top and at its bottom, in which running lines stand."""
_REPEATS = 3
"""Pages that a running line stands on, at least."""
_SAME_PLACE = 3.0
"""Points by which a running line may move."""
_LARGER = 1.12
"""A heading's height, in heights of the body's text."""
_LOOSER = 1.25
"""Distance of lines from which a paragraph begins, in distances within a paragraph."""
_HEADING_LENGTH = 160
_LEVELS = 6
_NUMBER = re.compile(r"\d+")
_PAGE_NUMBER = re.compile(
    r"(?:page|seite|p\.|s\.)?\s*[-–—|]?\s*\d{1,5}\s*(?:(?:of|von|/|\|)\s*\d{1,5})?\s*[-–—|]?", re.I
)
_LEADERS = re.compile(r"(?:[.·…]\s?){4}")
"""Dots between a heading and its page, in a table of contents."""
_ENDS = (".", "!", "?", ":", ".”", '."')


class Line(NamedTuple):
    """A line of a page, in points from the page's lower left corner."""

    start: int
    end: int
    """Characters [start, end) of the page's text."""
    text: str
    left: float
    right: float
    base: float
    """Height of its baseline."""
    last_base: float
    """Of its end: a line that goes on behind a hyphen ends further down."""
    height: float
    """Of its font."""
    bold: bool
    cells: tuple[float, ...]
    """Left edges of its parts that stand apart; a plain line has one."""


class Sheet(NamedTuple):
    """A page's lines in reading order."""

    number: int
    height: float
    lines: Sequence[Line]


def elements_of(sheets: Sequence[Sheet]) -> Iterator[Element]:
    """Yield the elements of all pages: spans of each page's text, without running lines."""
    body = _body_height(sheets)
    running = _running(sheets, body)
    pitch = _pitches(sheets)
    blocks = []
    for sheet in sheets:
        kept = [None if (sheet.number, at) in running else line for at, line in enumerate(sheet.lines)]
        blocks += [(sheet.number, kind, lines) for kind, lines in _blocks(kept, body, pitch)]
    bold_body = _mostly_bold(sheets)
    titles = [_is_title(lines, body, bold_body) if kind == "text" else False for _, kind, lines in blocks]
    levels = _levels([lines for (_, _, lines), title in zip(blocks, titles, strict=True) if title])
    for (page, kind, lines), title in zip(blocks, titles, strict=True):
        start = lines[0].start
        if kind == "list":
            mark = BULLET.match(lines[0].text)
            if mark is not None and not mark[0].strip(" \t()").rstrip(".)").isalnum():
                start += mark.end()  # a dot says nothing; a number does
        level = (numbered_level(lines[0].text) or levels[_form(lines)]) if title else None
        yield Element(
            kind="title" if title else kind, span=Span(page=page, start=start, end=lines[-1].end), level=level
        )


def _body_height(sheets: Sequence[Sheet]) -> float:
    """Return the height in which most characters are written."""
    counts: Counter[float] = Counter()
    for sheet in sheets:
        for line in sheet.lines:
            counts[round(line.height * 2) / 2] += len(line.text)
    return counts.most_common(1)[0][0] if counts else 0.0


def _mostly_bold(sheets: Sequence[Sheet]) -> bool:
    bold = sum(len(line.text) for sheet in sheets for line in sheet.lines if line.bold)
    return 2 * bold > sum(len(line.text) for sheet in sheets for line in sheet.lines)


def _running(sheets: Sequence[Sheet], body: float) -> set[tuple[int, int]]:
    """Return (page, index of its line) of running headers and footers and of page numbers."""
    found = set()
    places: dict[str, list[tuple[float, int, int]]] = defaultdict(list)
    for sheet in sheets:
        for at, line in enumerate(sheet.lines):
            low, high = MARGIN * sheet.height, (1 - MARGIN) * sheet.height
            if low < line.base < high or line.height > _LARGER * body:
                continue
            text = " ".join(line.text.split())
            if _PAGE_NUMBER.fullmatch(text) and (not text.isdigit() or int(text) == sheet.number):
                found.add((sheet.number, at))
            for key in _keys(text, sheet.number):
                places[key].append((line.base, sheet.number, at))
    for seen in places.values():
        found |= _repeated(sorted(seen))
    return found - {place for sheet in sheets for place in _heads(sheet, found)}


def _heads(sheet: Sheet, running: set[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield running lines that name the columns of a table below them: it goes on from page to page."""
    for at, (upper, lower) in enumerate(itertools.pairwise(sheet.lines)):
        if (sheet.number, at + 1) not in running and _aligned(upper, lower) >= 2:
            yield sheet.number, at


def _keys(text: str, page: int) -> Iterator[str]:
    """Yield the line, and the line with each of its numbers relative to the page's, which a page number keeps.

    A number at an end tells by itself: the chapter's name beside it may change.
    """
    yield text
    if len(text) <= _HEADING_LENGTH:
        for number in _NUMBER.finditer(text):
            if len(number[0]) <= 5:
                offset = f"\0{int(number[0]) - page}\0"
                yield text[: number.start()] + offset + text[number.end() :]
                if text[: number.start()].endswith(" ") and number.end() == len(text):
                    yield f" {offset}"
                elif number.start() == 0 and text[number.end() :].startswith(" "):
                    yield f"{offset} "


def _repeated(seen: Sequence[tuple[float, int, int]]) -> set[tuple[int, int]]:
    """Return those of equal lines (baseline, page, index) that stand at one place on enough pages."""
    found: set[tuple[int, int]] = set()
    group: list[tuple[float, int, int]] = []
    for place in [*seen, (float("inf"), 0, 0)]:
        if group and place[0] - group[0][0] > _SAME_PLACE:
            if len({page for _, page, _ in group}) >= _REPEATS:
                found |= {(page, at) for _, page, at in group}
            group = []
        group.append(place)
    return found


def _pitches(sheets: Sequence[Sheet]) -> dict[int, float]:
    """Return the usual distance between lines of each height (in points), which is that within a paragraph."""
    seen: dict[int, list[float]] = defaultdict(list)
    for sheet in sheets:
        for upper, lower in itertools.pairwise(sheet.lines):
            distance = upper.last_base - lower.base
            if abs(upper.height - lower.height) < 0.5 and 0 < distance < 2.5 * upper.height:
                seen[round(lower.height)].append(distance)
    return {height: statistics.median_low(distances) for height, distances in seen.items()}


def _blocks(lines: Sequence[Line | None], body: float, pitch: dict[int, float]) -> Iterator[tuple[Kind, list[Line]]]:
    """Yield lines that belong together; None is a line that was left out."""
    rows = _rows(lines)
    block: list[Line] = []
    for at, line in enumerate(lines):
        if line is None or at in rows:
            if block:
                yield _kind(block), block
            block = []
            if line is not None:
                yield "table", [line]
        elif block and _begins(block, line, pitch):
            yield _kind(block), block
            block = [line]
        else:
            block.append(line)
    if block:
        yield _kind(block), block


def _kind(block: Sequence[Line]) -> Kind:
    first = block[0].text
    numbered_heading = len(block) == 1 and heading_level(first) is not None
    return "list" if BULLET.match(first) and not numbered_heading else "text"


def _rows(lines: Sequence[Line | None]) -> set[int]:
    """Return the indexes of lines that are a table's rows: two or more in turn whose parts begin at the same places."""
    rows: set[int] = set()
    for at, (upper, lower) in enumerate(itertools.pairwise(lines)):
        if upper is None or lower is None or len(upper.cells) < 2 or len(lower.cells) < 2:
            continue
        # cells may be set to the right or in the middle
        if _aligned(upper, lower) >= 2 or len(upper.cells) == len(lower.cells) > 2:
            rows |= {at, at + 1}
    return rows


def _aligned(upper: Line, lower: Line) -> int:
    """Return how many parts of a line begin where one of the line below does."""
    return sum(any(abs(a - b) < 3 for b in lower.cells) for a in upper.cells)


def _begins(block: Sequence[Line], line: Line, pitch: dict[int, float]) -> bool:
    """Return whether `line` begins another block than the lines above it."""
    above = block[-1]
    distance = above.last_base - line.base
    usual = pitch.get(round(line.height), 1.2 * line.height)
    if distance <= 0 or distance > _LOOSER * usual:
        return True
    if abs(above.height - line.height) > 0.15 * max(above.height, line.height) or BULLET.match(line.text):
        return True
    ended = above.text.rstrip().endswith(_ENDS)
    if above.bold != line.bold:
        return not ended or len(block) == 1
    if not ended or BULLET.match(block[0].text):
        return False
    width = max(each.right for each in block) - min(each.left for each in block)
    indented = line.left > above.left + 0.8 * line.height
    return indented or (len(block) > 1 and above.right < max(each.right for each in block) - 0.2 * width)


def _is_title(block: Sequence[Line], body: float, bold_body: bool) -> bool:
    text = " ".join(line.text.strip() for line in block)
    if len(block) > 3 or len(text) > _HEADING_LENGTH or not any(map(str.isalpha, text)) or _LEADERS.search(text):
        return False
    if block[0].height > _LARGER * body:
        return True
    if text[-1] in ".,;:!?":
        return False
    bold = not bold_body and all(line.bold for line in block)
    return len(block) == 1 and (bold or heading_level(text) is not None)


def _form(title: Sequence[Line]) -> tuple[int, bool]:
    return round(title[0].height), title[0].bold


def _levels(titles: Sequence[Sequence[Line]]) -> dict[tuple[int, bool], int]:
    """Return the level of each form of heading: the largest is 1; bold stands above plain."""
    forms = sorted(set(map(_form, titles)), reverse=True)
    return {form: min(rank, _LEVELS) for rank, form in enumerate(forms, 1)}
