"""Lines of a PDF that say nothing of their own: running heads and feet, page numbers, tables of contents, indexes."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from functions.extract_text.lines import Line, Sheet, aligned

Place = tuple[int, int]
"""A page's number and the index of its line."""

MARGIN = 0.12
"""Share of a page's height, at its top and at its bottom, in which running lines stand."""
_REPEATS = 3
"""Pages that a running line stands on, at least."""
_SAME_PLACE = 3.0
"""Points by which a running line may move."""
_SHARE = 0.5
"""Of the lines at one height, those that repeat from which all are running: a section's name may stand on one page."""
_LARGER = 1.12
"""A line of more heights of the body's text than this is a heading."""
_KEY_LENGTH = 160
_NUMBER = re.compile(r"\d+")
_PAGE_NUMBER = re.compile(
    r"(?:page|seite|página|pagina|p\.|s\.)?\s*[-–—|]?\s*\d{1,5}\s*(?:(?:of|von|sur|de|di|/|\|)\s*\d{1,5})?\s*[-–—|]?",
    re.I,
)
_ROMAN = re.compile(r"[ivxlc]{1,7}")
_DOTTED = re.compile(r"(?:[.·…_]\s?){4,}(?:\d{1,4}|[ivxlc]{1,6})?\s*$")
"""The end of an entry of a table of contents, which dots lead to."""
_ENTRY = re.compile(r"(?=.*[^\W\d_]{2}).*?\S[\s.·…_|]+(\d{1,4}|[ivxlc]{1,6})")
_INDEX_ENTRY = re.compile(r"(?=.*[^\W\d_]{2}).*?\S,? \d{1,4}(?:[-–]\d{1,4})?(?:, ?\d{1,4}(?:[-–]\d{1,4})?)*,?")
_CONTENTS = re.compile(
    r"(?:table of |list of )?(?:contents|figures|tables|examples)|(?:inhalts|tabellen|abbildungs)verzeichnis|inhalt"
    r"|(?:table|liste) des (?:matières|figures|tableaux|exemples)|sommaire|(?:índice|lista)(?: general| de .+)?"
    r"|contenidos?|(?:indice|elenco)(?: generale| delle .+)?|sommario|inhoudsopgave|index|stichwortverzeichnis",
    re.I,
)
_ENTRIES = 5
"""In turn, from which lines that end in page numbers are a table of contents."""
_BETWEEN = 2
"""Lines of an entry above the one with its page."""
_MOST = 0.7
"""Share of a page's lines that are entries from which all are: letters stand between those of an index."""
_INDEX_LINES = 12
_INDEXED = 8
"""Pages of a document that may have an index."""


def left_out(sheets: Sequence[Sheet], body: float) -> set[Place]:
    """Return the lines that are no part of the text; `body` is the height of its font in points."""
    running = _running(sheets, body)
    return running | _contents(sheets, running, body)


def _running(sheets: Sequence[Sheet], body: float) -> set[Place]:
    """Return running headers and footers and page numbers."""
    found = set()
    places: dict[str, list[tuple[float, int, int]]] = defaultdict(list)
    at_height: dict[tuple[int, int], set[Place]] = defaultdict(set)
    for sheet in sheets:
        bases = [line.base for line in sheet.lines]
        ends = {max(bases), min(bases)}  # below a table's head, equal cells mean nothing
        for at, line in enumerate(sheet.lines):
            low, high = MARGIN * sheet.height, (1 - MARGIN) * sheet.height
            if low < line.base < high or line.height > _LARGER * body:
                continue
            text = " ".join(line.text.split())
            if _PAGE_NUMBER.fullmatch(text) and (not text.isdigit() or int(text) == sheet.number):
                found.add((sheet.number, at))
            for key in _keys(text, sheet.number):
                places[key].append((line.base, sheet.number, at))
            if line.base in ends and len(line.cells) > 1:
                for cell in line.cells:
                    places[cell.text].append((line.base, sheet.number, at))
            at_height[round(line.base), round(line.height)].add((sheet.number, at))
    for seen in places.values():
        found |= _repeated(sorted(seen))
    found -= {place for sheet in sheets for place in _heads(sheet, found)}
    for height in list(at_height):
        those = at_height[height]
        if len(those & found) >= max(_REPEATS, _SHARE * len(those)):
            found |= those
    return found


def _heads(sheet: Sheet, running: set[Place]) -> Iterator[Place]:
    """Yield running lines that name the columns of a table below them: it goes on from page to page."""
    for at, (upper, lower) in enumerate(itertools.pairwise(sheet.lines)):
        if (sheet.number, at + 1) not in running and aligned(upper, lower) >= 2:
            yield sheet.number, at


def _keys(text: str, page: int) -> Iterator[str]:
    """Yield the line, and the line with each of its numbers relative to the page's, which a page number keeps.

    A number at an end tells by itself: the chapter's name beside it may change.
    """
    yield text
    if _ROMAN.fullmatch(text):
        yield "\0roman"
    if len(text) <= _KEY_LENGTH:
        for number in _NUMBER.finditer(text):
            if len(number[0]) <= 5:
                offset = f"\0{int(number[0]) - page}\0"
                yield text[: number.start()] + offset + text[number.end() :]
                if text[: number.start()].endswith(" ") and number.end() == len(text):
                    yield f" {offset}"
                elif number.start() == 0 and text[number.end() :].startswith(" "):
                    yield f"{offset} "


def _repeated(seen: Sequence[tuple[float, int, int]]) -> set[Place]:
    """Return those of equal lines (baseline, page, index) that stand at one place on enough pages."""
    found: set[Place] = set()
    group: list[tuple[float, int, int]] = []
    for place in [*seen, (float("inf"), 0, 0)]:
        if group and place[0] - group[0][0] > _SAME_PLACE:
            if len({page for _, page, _ in group}) >= _REPEATS:
                found |= {(page, at) for _, page, at in group}
            group = []
        group.append(place)
    return found


def _contents(sheets: Sequence[Sheet], running: set[Place], body: float) -> set[Place]:
    """Return the entries of tables of contents and indexes with their headings."""
    found: set[Place] = set()
    last = sheets[-1].number if sheets else 0
    for sheet in sheets:
        kept = [at for at in range(len(sheet.lines)) if (sheet.number, at) not in running]
        lines = [sheet.lines[at] for at in kept]
        entries = _entries(lines, last)
        if _is_index(lines, sheet.number, last):
            entries = set(range(len(lines)))
        heading = next((at for at, line in enumerate(lines) if _CONTENTS.fullmatch(line.text.strip())), len(lines))
        if entries and max(entries) > heading:
            entries |= set(range(heading, max(entries)))
        if len(entries) > _MOST * len(lines):
            entries = set(range(len(lines)))
        for first, stop in _stretches(entries):
            entries |= set(range(_heading(lines, first, body), stop))
        found |= {(sheet.number, kept[at]) for at in entries}
    return found


def _entries(lines: Sequence[Line], last: int) -> set[int]:
    """Return the indexes of lines that are entries of a table of contents, those without a page between them too."""
    dotted = {at for at, line in enumerate(lines) if _DOTTED.search(line.text)}
    counted = [_page_of(line, last + 50) for line in lines]
    found = set(dotted)
    run: list[int] = []
    for at, page in [*enumerate(counted), (len(lines), None)]:
        before = counted[run[-1]] if run else None
        if page is not None and (before is None or (page >= before and at - run[-1] <= _BETWEEN)):
            run.append(at)
        elif page is not None or not run or at - run[-1] >= _BETWEEN or at == len(lines):
            if len(run) >= _ENTRIES and counted[run[0]] != counted[run[-1]]:
                found |= set(run)
            run = [at] if page is not None else []
    if len(dotted) < 2:
        return found
    for one, two in itertools.pairwise(sorted(found)):
        if two - one <= _BETWEEN + 1:
            found |= set(range(one, two))
    ends = {at for at, page in enumerate(counted) if page is not None}
    while more := {at for at in ends - found if {at - 1, at + 1} & found}:  # chapters have no dots
        found |= more
    return found


def _page_of(line: Line, most: int) -> int | None:
    """Return the page that a line names at its end, apart or behind dots, as entries do; None: it is none."""
    text = line.text.strip()
    entry = _ENTRY.fullmatch(text)
    if entry is None or not entry[1].isdigit() or (len(line.cells) < 2 and not _DOTTED.search(text)):
        return None
    return int(entry[1]) if 0 < int(entry[1]) <= most else None


def _is_index(lines: Sequence[Line], page: int, last: int) -> bool:
    """Return whether a page near the end of a document is one of its index."""
    if len(lines) < _INDEX_LINES or last < _INDEXED or page < 0.7 * last:
        return False
    return sum(_INDEX_ENTRY.fullmatch(line.text.strip()) is not None for line in lines) > _MOST * len(lines)


def _stretches(entries: Iterable[int]) -> list[tuple[int, int]]:
    """Return [first, stop) of the entries that follow each other."""
    made = []
    for _, group in groupby(enumerate(sorted(entries)), lambda pair: pair[1] - pair[0]):
        members = [at for _, at in group]
        made.append((members[0], members[-1] + 1))
    return made


def _heading(lines: Sequence[Line], first: int, body: float) -> int:
    """Return where the heading above the entry `first` begins, or `first` where there is none."""
    at = first - 1
    if at >= 0 and (_CONTENTS.fullmatch(lines[at].text.strip()) or (first == 1 and lines[at].height > _LARGER * body)):
        return at
    return first
