"""Cutting one element: rows of a table, sentences, words, and characters where a word alone is too long.

A piece is a range of a page's text with the tokens that it counts. Every cut is linear in the text: what is counted is
cut into windows of bounded length first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from contracts.corpus import Kind, plain_text

Count = Callable[[str], int]
Range = tuple[int, int]

_WINDOW = 4
"""Characters per token of the limit, about what a token of text has: halving then begins near the limit."""
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s)|[。！？]")
_ABBREVIATION = re.compile(
    r"[a-z]|e\.g|i\.e|cf|vs|etc|dr|mr|mrs|ms|prof|nos?|figs?|sec|art|para|approx|vol|pp|ed|al|inc|ltd|co|st|jr|sr"
    r"|z\.b|d\.h|u\.a|bzw|ca|nr|abs"
)
"""What a full stop stands behind without ending a sentence, initials among it."""


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A part of an element that is never cut again."""

    page: int
    start: int
    end: int
    tokens: int
    kind: Kind
    section: int
    """0-based number of the section that it stands in."""
    line: tuple[int, int]
    """(element, row of a table): neighbours on one line become one span."""


@dataclass(frozen=True, slots=True)
class Source:
    """An element with its page's text."""

    text: str
    page: int
    start: int
    end: int
    kind: Kind
    section: int
    number: int

    def piece(self, at: Range, tokens: int, row: int = 0) -> TextPiece:
        """Return the piece of this element at `at`."""
        return TextPiece(self.page, *at, tokens, self.kind, self.section, (self.number, row))


def whole(source: Source, count: Count) -> list[TextPiece]:
    """Return the element uncut: one piece, or one for each row of a table; none where it is blank."""
    lines = _lines(source.text, source.start, source.end) if source.kind == "table" else [(source.start, source.end)]
    plain = [(at, words) for at in lines if (words := plain_text(source.text[slice(*at)]))]
    return [source.piece(at, count(words), row) for row, (at, words) in enumerate(plain)]


def parts(source: Source, uncut: list[TextPiece], count: Count, limit: int) -> Iterator[TextPiece]:
    """Yield the element's pieces, cut so that each counts at most `limit` tokens."""
    for piece in uncut:
        row = piece.line[1]
        if source.kind == "table" and piece.tokens <= limit:
            yield piece
            continue
        for at in sentences(source.text, piece.start, piece.end):
            tokens = count(plain_text(source.text[slice(*at)]))
            if tokens <= limit:
                yield source.piece(at, tokens, row)
            else:
                for (start, end), tokens in _words(source.text, *at, count, limit):
                    yield source.piece((start, end), tokens, row)


def sentences(text: str, start: int, end: int) -> list[Range]:
    """Return the sentences of [start, end), without the white space between them."""
    made, begin = [], start
    for mark in _SENTENCE_END.finditer(text, start, end):
        if mark.end() < end and _ends_sentence(text, start, mark.start(), mark.end(), end):
            made.append((begin, mark.end()))
            begin = mark.end()
    return [at for at in (_stripped(text, *each) for each in [*made, (begin, end)]) if at[0] < at[1]]


def _ends_sentence(text: str, start: int, mark: int, after: int, end: int) -> bool:
    follows = text[after : min(after + 8, end)].lstrip()[:1]
    if follows.islower():
        return False
    if text[mark] != ".":
        return True
    before = re.split(r"[\s(]", text[max(start, mark - 8) : mark])[-1].lower()
    return not _ABBREVIATION.fullmatch(before)


def _lines(text: str, start: int, end: int) -> list[Range]:
    made = []
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop + 1
        made.append(_stripped(text, start, stop))
        start = stop
    return made


def _words(text: str, start: int, end: int, count: Count, limit: int) -> Iterator[tuple[Range, int]]:
    """Yield ranges of whole words where words are short enough, each of at most a quarter of `limit` tokens.

    A quarter, so that the chunks made of them are three quarters full at least.
    """
    limit = max(1, limit // 4)
    while start < end:
        stop = min(start + _WINDOW * limit, end)
        if stop < end:
            stop = _space_before(text, start, stop) or stop
        yield from _halved(text, start, stop, count, limit)
        start = stop


def _halved(text: str, start: int, end: int, count: Count, limit: int) -> Iterator[tuple[Range, int]]:
    start, end = _stripped(text, start, end)
    if start == end:
        return
    tokens = count(plain_text(text[start:end]))
    if tokens <= limit or end - start == 1:
        yield (start, end), tokens
        return
    middle = (start + end) // 2
    cut = _space_before(text, start, middle) or _space_after(text, middle, end) or middle
    yield from _halved(text, start, cut, count, limit)
    yield from _halved(text, cut, end, count, limit)


def _space_before(text: str, start: int, end: int) -> int:
    return next((at for at in range(end, start, -1) if text[at].isspace()), 0)


def _space_after(text: str, start: int, end: int) -> int:
    return next((at for at in range(start, end) if text[at].isspace()), 0)


def _stripped(text: str, start: int, end: int) -> Range:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
