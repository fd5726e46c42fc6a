"""The text of a document that has no pages, put together piece by piece."""

from __future__ import annotations

from collections.abc import Iterable
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


def composed(pieces: Iterable[DraftPiece], problems: tuple[Problem, ...] = ()) -> Extracted:
    """Return the pieces as one page, rows and list items on lines of their own, a blank line between the others."""
    parts: list[str] = []
    elements: list[Element] = []
    length, before = 0, None
    for piece in pieces:
        text = cleaned(piece.text).strip()
        if not text:
            continue
        if before is not None:
            gap = "\n" if piece.kind == before and piece.kind in ("list", "table") else "\n\n"
            parts.append(gap)
            length += len(gap)
        parts.append(text)
        span = Span(page=1, start=length, end=length + len(text))
        elements.append(Element(kind=piece.kind, span=span, level=piece.level))
        length, before = length + len(text), piece.kind
        if length > MAX_CHARACTERS:
            raise too_complex(f"{MAX_CHARACTERS:,} characters")
        if len(elements) > MAX_ELEMENTS:
            raise too_complex(f"{MAX_ELEMENTS:,} paragraphs and rows")
    return Extracted((Page(number=1, text="".join(parts)),), tuple(elements), False, problems)
