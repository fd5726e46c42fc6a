"""Lines of a PDF's pages to headings, paragraphs, list items and rows of tables; what repeats on pages is left out."""

from __future__ import annotations

import itertools
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal

from contracts.corpus import Element, Kind, Page, Span
from functions.extract_text.lines import Line, Sheet
from functions.extract_text.plain import BULLET, heading_level, numbered_level
from functions.extract_text.running import left_out
from functions.extract_text.tables import tabled
from functions.extract_text.words import Words

Role = Literal["line", "row", "gone"]
"""A line of the text, a table's row, or what is no part of what is learnt."""

Block = tuple[int, Kind, Sequence[Line]]
"""A page's number and lines of it that belong together."""

_LARGER = 1.12
"""A heading's height, in heights of the body's text."""
_LOOSER = 1.25
"""Distance of lines from which a paragraph begins, in distances within a paragraph."""
_BAR = " | "
"""Between the cells of a row."""
_HEADING_LENGTH = 160
_LEVELS = 6
_LABEL = re.compile(
    r"(?:note|warning|caution|important|tip|danger|attention|hint|notice|anmerkung|hinweis|warnung|achtung|vorsicht"
    r"|wichtig|tipp|remarque|avertissement|mise en garde|astuce|nota|aviso|advertencia|atención|precaución"
    r"|sugerencia|importante|suggerimento|avvertimento|avvertenza|attenzione|avviso|consiglio)\s*:?",
    re.I,
)
"""Stands above a box, whose text belongs to the section around it."""
_ENDS = (".", "!", "?", ":", ".”", '."')


def laid_out(sheets: Sequence[Sheet]) -> tuple[list[Page], list[Element]]:
    """Return the text of all pages, and their elements: spans of it, without running lines and tables of contents."""
    body = _body_height(sheets)
    gone = left_out(sheets, body)
    words = Words(lambda: (line for sheet in sheets for line in sheet.lines))
    pitch = _pitches(sheets)
    pages, blocks = [], []
    for sheet in sheets:
        text, placed = _composed(list(_parts(sheet, gone, words)), words)
        pages.append(Page(number=sheet.number, text=text))
        blocks += [(sheet.number, kind, lines) for kind, lines in _blocks(placed, pitch)]
    return pages, list(_elements(blocks, body, _mostly_bold(sheets)))


def _parts(sheet: Sheet, gone: set[tuple[int, int]], words: Words) -> Iterator[tuple[Line, Role]]:
    """Yield the lines of a page, those of a table's row as one."""
    kept = [None if (sheet.number, at) in gone or line.turn is None else line for at, line in enumerate(sheet.lines)]
    rows, taken = tabled(kept, words.joined)
    for at, line in enumerate(sheet.lines):
        if at in rows:
            yield rows[at], "row"
        elif at not in taken:
            yield line, "gone" if kept[at] is None else "line"


def _composed(parts: Sequence[tuple[Line, Role]], words: Words) -> tuple[str, list[tuple[Line, Role]]]:
    """Return a page's text and its lines with their places there: a word that a line's end breaks is whole again."""
    said: list[str] = []
    placed: list[tuple[Line, Role]] = []
    length = 0
    for line, role in parts:
        text = _BAR.join(cell.text for cell in line.cells) if role == "row" else line.text
        if placed:
            above, above_role = placed[-1]
            end = words.end(above.text, line.text) if above_role == role == "line" and above.turn == line.turn else None
            if end is None:
                said.append("\n")
                length += 1
            else:
                said[-1] = said[-1][:-1] + end
                length += len(end) - 1
                placed[-1] = above._replace(end=length), role
        said.append(text)
        placed.append((line._replace(start=length, end=length + len(text)), role))
        length += len(text)
    return "".join(said), placed


def _elements(blocks: Sequence[Block], body: float, bold_body: bool) -> Iterator[Element]:
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


def _pitches(sheets: Sequence[Sheet]) -> dict[int, float]:
    """Return the usual distance between lines of each height (in points), which is that within a paragraph."""
    seen: dict[int, list[float]] = defaultdict(list)
    for sheet in sheets:
        for upper, lower in itertools.pairwise(sheet.lines):
            distance = upper.base - lower.base
            if abs(upper.height - lower.height) < 0.5 and 0 < distance < 2.5 * upper.height:
                seen[round(lower.height)].append(distance)
    return {height: statistics.median_low(distances) for height, distances in seen.items()}


def _blocks(parts: Sequence[tuple[Line, Role]], pitch: dict[int, float]) -> Iterator[tuple[Kind, list[Line]]]:
    """Yield lines that belong together."""
    block: list[Line] = []
    for line, role in parts:
        if role != "line":
            if block:
                yield _kind(block), block
            block = []
            if role == "row":
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


def _begins(block: Sequence[Line], line: Line, pitch: dict[int, float]) -> bool:
    """Return whether `line` begins another block than the lines above it."""
    above = block[-1]
    if line.start == above.end:
        return False  # a word goes on
    distance = above.base - line.base
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
    if len(block) > 3 or len(text) > _HEADING_LENGTH or not any(map(str.isalpha, text)):
        return False
    if _LABEL.fullmatch(text):
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
