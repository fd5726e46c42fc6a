"""Lines of a PDF's pages to headings, paragraphs, list items and rows of tables; what repeats on pages is left out."""

from __future__ import annotations

import itertools
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from contracts.corpus import Element, Kind, Page, Span
from functions.extract_text.lines import Line, Sheet, aligned
from functions.extract_text.plain import BULLET, heading_level, numbered_level
from functions.extract_text.running import left_out
from functions.extract_text.words import Words

Block = tuple[int, Kind, Sequence[Line]]
"""A page's number and lines of it that belong together."""

_LARGER = 1.12
"""A heading's height, in heights of the body's text."""
_LOOSER = 1.25
"""Distance of lines from which a paragraph begins, in distances within a paragraph."""
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
        kept = [None if (sheet.number, at) in gone else line for at, line in enumerate(sheet.lines)]
        rows = _rows(kept)
        text, placed = _composed(sheet.lines, kept, rows, words)
        pages.append(Page(number=sheet.number, text=text))
        shown = [None if line is None or line.turn is None else placed[at] for at, line in enumerate(kept)]
        blocks += [(sheet.number, kind, lines) for kind, lines in _blocks(shown, rows, pitch)]
    return pages, list(_elements(blocks, body, _mostly_bold(sheets)))


def _composed(
    lines: Sequence[Line], kept: Sequence[Line | None], rows: set[int], words: Words
) -> tuple[str, list[Line]]:
    """Return a page's text and its lines with their places there: a word that a line's end breaks is whole again."""
    parts: list[str] = []
    placed: list[Line] = []
    length = 0
    for at, line in enumerate(lines):
        text = " | ".join(cell.text for cell in line.cells) if at in rows else line.text
        if parts:
            above = lines[at - 1]
            together = kept[at - 1] is not None and kept[at] is not None and not {at - 1, at} & rows
            end = words.end(above, line) if together and above.turn == line.turn else None
            if end is not None:
                parts[-1] = parts[-1][:-1] + end
                length += len(end) - 1
                placed[-1] = placed[-1]._replace(end=length)
            else:
                parts.append("\n")
                length += 1
        parts.append(text)
        placed.append(line._replace(start=length, end=length + len(text)))
        length += len(text)
    return "".join(parts), placed


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


def _blocks(lines: Sequence[Line | None], rows: set[int], pitch: dict[int, float]) -> Iterator[tuple[Kind, list[Line]]]:
    """Yield lines that belong together; None is a line that was left out, and each of `rows` is a table's."""
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
        if aligned(upper, lower) >= 2 or len(upper.cells) == len(lower.cells) > 2:
            rows |= {at, at + 1}
    return rows


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
