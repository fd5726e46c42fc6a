"""Lines of a PDF's pages to headings, paragraphs, list items and rows of tables; what repeats on pages is left out."""

from __future__ import annotations

import itertools
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
_LARGEST = 1.3
"""A heading's that ends like a sentence."""
_NUMBERED = 2
"""Numbered headings that stand out, from which all do."""
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
    fonts = _fonts(sheets)
    gone = left_out(sheets, fonts.body)
    words = Words(lambda: (line for sheet in sheets for line in sheet.lines))
    pitch = _pitches(sheets)
    pages, blocks = [], []
    for sheet in sheets:
        text, placed = _composed(list(_parts(sheet, gone, words)), words)
        pages.append(Page(number=sheet.number, text=text))
        blocks += [(sheet.number, fonts.kind(lines, is_row), lines) for is_row, lines in _blocks(placed, pitch)]
    return pages, list(_elements(blocks, fonts))


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


def _elements(blocks: Sequence[Block], fonts: _Fonts) -> Iterator[Element]:
    titles = [kind == "text" and fonts.is_title(lines) for _, kind, lines in blocks]
    levels = iter(_levels([lines[0] for (*_, lines), title in zip(blocks, titles, strict=True) if title]))
    for (page, kind, lines), title in zip(blocks, titles, strict=True):
        start = lines[0].start
        if kind == "list":
            mark = BULLET.match(lines[0].text)
            if mark is not None and not mark[0].strip(" \t()").rstrip(".)").isalnum():
                start += mark.end()  # a dot says nothing; a number does
        span = Span(page=page, start=start, end=lines[-1].end)
        yield Element(kind="title" if title else kind, span=span, level=next(levels) if title else None)


@dataclass(frozen=True, slots=True)
class _Fonts:
    """What a document's headings look like."""

    body: float
    """Height in which most characters are written."""
    bold_body: bool
    """Whether most characters are bold."""
    numbers_stand_out: bool = False
    """Whether numbered headings are larger or bold: what is numbered and plain is an item or a footnote then."""

    def stands_out(self, line: Line) -> bool:
        """Return whether a line is larger than the text, or bold in a text that is not."""
        return line.height > _LARGER * self.body or (line.bold and not self.bold_body)

    def kind(self, block: Sequence[Line], is_row: bool) -> Kind:
        """Return what lines that belong together are, headings apart."""
        if is_row:
            return "table"
        is_heading = len(block) == 1 and self._is_heading(block[0])
        return "list" if BULLET.match(block[0].text) and not is_heading else "text"

    def is_title(self, block: Sequence[Line]) -> bool:
        """Return whether lines are a heading."""
        text = " ".join(line.text.strip() for line in block)
        if len(block) > 3 or len(text) > _HEADING_LENGTH or not any(map(str.isalpha, text)):
            return False
        if _LABEL.fullmatch(text):
            return False
        height = block[0].height
        if height > _LARGEST * self.body or (height > _LARGER * self.body and not text.endswith(".")):
            return True
        if len(block) > 1 or text[-1] in ".,;:!?":
            return False
        return (block[0].bold and not self.bold_body) or self._is_heading(block[0])

    def _is_heading(self, line: Line) -> bool:
        """Return whether a line reads like a heading."""
        if heading_level(line.text) is None:
            return False
        return not self.numbers_stand_out or self.stands_out(line) or numbered_level(line.text) is None


def _fonts(sheets: Sequence[Sheet]) -> _Fonts:
    lines = [line for sheet in sheets for line in sheet.lines]
    heights: Counter[float] = Counter()
    for line in lines:
        heights[round(line.height * 2) / 2] += len(line.text)
    bold = sum(len(line.text) for line in lines if line.bold)
    fonts = _Fonts(heights.most_common(1)[0][0] if heights else 0.0, 2 * bold > heights.total())
    numbered = sum(fonts.stands_out(line) and numbered_level(line.text) is not None for line in lines)
    return replace(fonts, numbers_stand_out=numbered >= _NUMBERED)


def _pitches(sheets: Sequence[Sheet]) -> dict[int, float]:
    """Return the usual distance between lines of each height (in points), which is that within a paragraph."""
    seen: dict[int, list[float]] = defaultdict(list)
    for sheet in sheets:
        for upper, lower in itertools.pairwise(sheet.lines):
            distance = upper.base - lower.base
            if abs(upper.height - lower.height) < 0.5 and 0 < distance < 2.5 * upper.height:
                seen[round(lower.height)].append(distance)
    return {height: statistics.median_low(distances) for height, distances in seen.items()}


def _blocks(parts: Sequence[tuple[Line, Role]], pitch: dict[int, float]) -> Iterator[tuple[bool, list[Line]]]:
    """Yield lines that belong together, and whether they are a table's row."""
    block: list[Line] = []
    for line, role in parts:
        if role != "line":
            if block:
                yield False, block
            block = []
            if role == "row":
                yield True, [line]
        elif block and _begins(block, line, pitch):
            yield False, block
            block = [line]
        else:
            block.append(line)
    if block:
        yield False, block


def _begins(block: Sequence[Line], line: Line, pitch: dict[int, float]) -> bool:
    """Return whether `line` begins another block than the lines above it."""
    above = block[-1]
    if line.start == above.end:
        return False  # a word goes on
    distance = above.base - line.base
    usual = pitch.get(round(line.height), 1.2 * line.height)
    if distance < 0 and not above.text.endswith(_ENDS) and line.text[:1].islower():
        return False  # it goes on in the next column
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


def _levels(titles: Sequence[Line]) -> Iterator[int]:
    """Yield the level of each heading: its number's, if those of its form have one and no larger form is deeper.

    Other forms stand below the next larger one, and above those whose numbers say how deep they are.
    """
    forms: dict[tuple[int, bool], list[int | None]] = defaultdict(list)
    for line in titles:
        forms[_form(line)].append(numbered_level(line.text))
    numbered: dict[tuple[int, bool], int] = {}
    for form, numbers in sorted(forms.items(), reverse=True):  # the largest first; bold stands above plain
        known = [number for number in numbers if number is not None]
        level = statistics.mode(known) if 2 * len(known) > len(numbers) else 0
        if level > 0 and level >= max(numbered.values(), default=0):
            numbered[form] = level
    levels: dict[tuple[int, bool], int] = {}
    above = 0
    for form in sorted(forms, reverse=True):
        below = min((level for other, level in numbered.items() if other < form), default=_LEVELS + 1)
        above = levels[form] = numbered.get(form) or max(1, min(above + 1, below - 1))
    for line in titles:
        number = numbered_level(line.text) if _form(line) in numbered else None
        yield number or levels[_form(line)]


def _form(title: Line) -> tuple[int, bool]:
    return round(title.height), title.bold
