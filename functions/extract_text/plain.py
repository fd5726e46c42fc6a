"""Plain text: paragraphs at blank lines, list items at their marks, headings by their form."""

from __future__ import annotations

import re
from collections.abc import Iterator

from contracts.corpus import Element, Kind, Page, Span
from functions.extract_text.core import Extracted
from functions.extract_text.decode import decoded

BULLET = re.compile(
    r"[ \t]*(?:[-*+\u2022\u2023\u25aa\u25ab\u25cf\u25e6\u2043\uf0a7\uf0b7\u2013]"
    r"|\(?\d{1,3}[.)]|\(?[a-zA-Z]\))[ \t]+(?=\S)"
)
"""A list item's mark at the start of a line."""
_BLOCK = re.compile(r"[^\n]*\S[^\n]*(?:\n[^\n]*\S[^\n]*)*")
_UNDERLINE = re.compile(r"[ \t]*([=\-~*_#^\"'`+:.])\1{2,}[ \t]*")
_MARKED = re.compile(r"(={1,6})[ \t]+(?=[^\s=])")
"""Before a heading of AsciiDoc."""
_NUMBERED = re.compile(r"(\d{1,2}(?:\.\d{1,2}){0,5})\.?[ \t]+[^\W\d_]")
_NAMED = re.compile(
    r"(?:chapter|part|section|article|appendix|annex|kapitel|teil|abschnitt|artikel|anhang|§)\s*[\divxlcA-Z]", re.I
)
_HEADING_LENGTH = 100
_HEADING_WORDS = 12


def read_plain(data: bytes) -> Extracted:
    """Return a plain text's paragraphs, list items and headings as spans of it."""
    text, problems = decoded(data)
    return Extracted((Page(number=1, text=text),), tuple(elements_of(text)), False, problems)


def elements_of(text: str, page: int = 1) -> Iterator[Element]:
    """Yield the elements of a page's text."""
    for block in _BLOCK.finditer(text):
        yield from _elements(text, page, block.start(), block.end())


def _elements(text: str, page: int, start: int, end: int) -> Iterator[Element]:
    lines = _lines(text, start, end)
    if len(lines) == 3 and all(_UNDERLINE.fullmatch(text, *lines[at]) for at in (0, 2)):  # a line above it, too
        del lines[0]
    first = text[slice(*lines[0])]
    marked = _MARKED.match(text, *lines[0])
    if marked and len(lines) == 1:
        yield _element("title", page, text, marked.end(), end, level=len(marked[1]))
        return
    if len(lines) == 1 or (len(lines) == 2 and _UNDERLINE.fullmatch(text, *lines[1])):
        underlined = text[lines[1][0]] if len(lines) == 2 else ""
        level = heading_level(first)
        if underlined or level is not None or _stands_alone(first):
            known = level or {"=": 1, "-": 2, "~": 3, "^": 4}.get(underlined)
            yield _element("title", page, text, *lines[0], level=known)
            return
    begin = start
    kind: Kind = "list" if BULLET.match(first) else "text"
    for line_start, line_end in lines[1:]:
        if BULLET.match(text, line_start, line_end) and (kind == "list" or text[:line_start].rstrip().endswith(":")):
            yield _element(kind, page, text, begin, line_start)
            begin, kind = line_start, "list"
    yield _element(kind, page, text, begin, end)


def heading_level(line: str) -> int | None:
    """Return the level that a heading's number or name says, 1 for one in capitals; None: it is none by its form."""
    line = line.strip()
    if not 2 <= len(line) <= _HEADING_LENGTH or line[-1] in ".,;:!?" or len(line.split()) > _HEADING_WORDS:
        return None
    capitals = line.isupper() and sum(map(str.isalpha, line)) > 3
    return numbered_level(line) or (1 if capitals or _NAMED.match(line) else None)


def numbered_level(heading: str) -> int | None:
    """Return the level that a heading's number says: 2 for `1.4 Safety`."""
    numbered = _NUMBERED.match(heading.strip())
    return numbered[1].count(".") + 1 if numbered else None


def _stands_alone(line: str) -> bool:
    """Return whether a line between blank ones reads like a heading: short, capitalised, no sentence."""
    line = line.strip()
    return (
        2 <= len(line) <= _HEADING_LENGTH
        and len(line.split()) <= _HEADING_WORDS
        and line[0].isupper()
        and line[-1] not in ".,;:!?…\"'”)"
    )


def _lines(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return where each line between `start` and `end` begins and ends."""
    lines = []
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        lines.append((start, stop))
        start = stop + 1
    return lines


def _element(kind: Kind, page: int, text: str, start: int, end: int, level: int | None = None) -> Element:
    inner = text[start:end]
    start, end = start + len(inner) - len(inner.lstrip()), start + len(inner.rstrip())
    return Element(kind=kind, span=Span(page=page, start=start, end=end), level=level)
