"""The text of a document that has no pages, put together piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from contracts.corpus import Element, Kind, Page, Span
from contracts.events.corpus import Problem
from functions.extract_text.core import MAX_CHARACTERS, MAX_ELEMENTS, Extracted, cleaned, too_complex


@dataclass(frozen=True, slots=True)
class DraftPiece:
    """A heading, paragraph, list item or row of a table."""

    kind: Kind
    text: str
    level: int | None = None
    """Of a heading: 1 is the highest."""
    page: int = 1


def composed(pieces: Iterable[DraftPiece], problems: tuple[Problem, ...] = (), paged: bool = False) -> Extracted:
    """Return the pieces as pages, rows and list items on lines of their own, a blank line between the others."""
    pages: list[Page] = []
    parts: list[str] = []
    elements: list[Element] = []
    length, total, before, number = 0, 0, None, 1
    for piece in pieces:
        text = cleaned(piece.text).strip()
        if not text:
            continue
        if piece.page != number:
            pages.append(Page(number=number, text="".join(parts)))
            parts, length, before, number = [], 0, None, piece.page
        if before is not None:
            gap = "\n" if piece.kind == before and piece.kind in ("list", "table") else "\n\n"
            parts.append(gap)
            length += len(gap)
        parts.append(text)
        span = Span(page=number, start=length, end=length + len(text))
        elements.append(Element(kind=piece.kind, span=span, level=piece.level))
        length, before, total = length + len(text), piece.kind, total + len(text)
        if total > MAX_CHARACTERS:
            raise too_complex(f"{MAX_CHARACTERS:,} characters")
        if len(elements) > MAX_ELEMENTS:
            raise too_complex(f"{MAX_ELEMENTS:,} paragraphs and rows")
    pages.append(Page(number=number, text="".join(parts)))
    return Extracted(tuple(pages), tuple(elements), paged, problems)


def pieces_of(extracted: Extracted) -> Iterator[DraftPiece]:
    """Yield what was read of one document as pieces of another that holds it."""
    texts = {page.number: page.text for page in extracted.pages}
    for each in extracted.elements:
        yield DraftPiece(each.kind, texts[each.span.page][each.span.start : each.span.end], each.level)
