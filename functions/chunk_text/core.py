"""Cutting a document's text into chunks along its structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from contracts.corpus import Chunk, Chunks, Span, Text, plain_text
from contracts.envelope import derived_id
from functions.chunk_text.pieces import Count, Source, TextPiece, parts, sentences, whole

NAMED_CELLS = frozenset({"csv", "json", "jsonl", "xlsx", "ods"})
"""Formats whose rows name their cells, so that no row stands for the columns."""
HEADING_CHARACTERS = 200
"""Of one heading in a chunk's path; a longer one is a paragraph that was taken for a heading."""
MAX_LEVEL = 9
"""What is said to be deeper is taken to be this deep; the path of a chunk is then bounded."""
_UNFINISHED = 4
"""The beginning of a sentence that a page's end parts may be one fourth of a chunk's size."""
_ENDS = (".", "!", "?", ":", ";", "”", '"')
TINY = 8
"""A section with less than one eighth of a chunk's size is tiny."""


@dataclass(frozen=True, slots=True)
class _Section:
    """A heading with what stands below it."""

    level: int
    """0: before the first heading."""
    path: tuple[str, ...]
    tokens: int
    """Up to the next heading of any level."""
    deep_tokens: int
    """Up to the next heading of the same or a higher level."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """What a chunk is made of."""

    pieces: Sequence[TextPiece]
    spans: tuple[Span, ...]
    text: str
    tokens: int


def chunk(text: Text, count: Count, size: int, overlap: int) -> Chunks:
    """Return the chunks of `text`, each of at most `size` tokens as `count` counts them.

    A chunk goes on behind a heading of the same or a higher level only where all sections before it in the chunk, or
    the one that begins, are tiny. It keeps tables, list items and paragraphs whole where they fit: beside a heading
    that would stand alone otherwise, too. It begins with whole sentences of the chunk before it, at most `overlap`
    tokens of them, where it goes on in the same section, and with the whole of a sentence that a page's end parts;
    a table that goes on repeats its first row instead, unless its rows name their cells.
    Raises ValueError when `overlap` leaves no room in `size`.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"a chunk of {size} tokens cannot repeat {overlap}; the overlap must be below the size")
    pages = {page.number: page.text for page in text.pages}
    sources, paths, levels = _sources(text, pages)
    uncut = [whole(source, count) for source in sources]
    sections = _sections(paths, levels, sources, uncut)
    packer = _Packer(pages, sections, count, size, overlap)
    has_headers = text.format not in NAMED_CELLS
    for source, pieces in zip(sources, uncut, strict=True):
        if pieces:
            packer.place(source, pieces, has_headers and source.kind == "table")
    packer.end()
    return _chunks(text, sections, packer.made)


def _sources(text: Text, pages: dict[int, str]) -> tuple[list[Source], list[tuple[str, ...]], list[int]]:
    """Return the elements with their sections, and of each section the path and level."""
    sources: list[Source] = []
    paths: list[tuple[str, ...]] = [()]
    levels = [0]
    above: list[tuple[int, str]] = []
    for number, element in enumerate(text.elements):
        span = element.span
        page = pages[span.page]
        if element.kind == "title" and (title := plain_text(page[span.start : span.end])):
            level = min(max(1, element.level or 1), MAX_LEVEL)
            while above and above[-1][0] >= level:
                above.pop()
            above.append((level, title[:HEADING_CHARACTERS]))
            paths.append(tuple(title for _, title in above))
            levels.append(level)
        before = sources[-1] if sources else None
        if before and before.kind == element.kind == "table" and _is_next_row(before, span):
            sources[-1] = replace(before, end=span.end)
        else:
            sources.append(Source(page, span.page, span.start, span.end, element.kind, len(levels) - 1, number))
    return sources, paths, levels


def _is_next_row(before: Source, span: Span) -> bool:
    """Return whether nothing but a line's end parts a row from the table before it."""
    if span.page != before.page or span.start < before.end:
        return False
    between = before.text[before.end : span.start]
    return not between.strip() and between.count("\n") <= 1


def _sections(
    paths: Sequence[tuple[str, ...]], levels: Sequence[int], sources: Sequence[Source], uncut: Sequence[list[TextPiece]]
) -> list[_Section]:
    own = [0] * len(levels)
    for source, pieces in zip(sources, uncut, strict=True):
        own[source.section] += _joined(pieces)
    before = [0, *accumulate(own)]
    ends = [len(levels)] * len(levels)
    open_sections: list[int] = []
    for index, level in enumerate(levels):
        while open_sections and levels[open_sections[-1]] >= level:
            ends[open_sections.pop()] = index
        open_sections.append(index)
    return [
        _Section(level, path, own[index], before[ends[index]] - before[index])
        for index, (level, path) in enumerate(zip(levels, paths, strict=True))
    ]


def _joined(pieces: Sequence[TextPiece]) -> int:
    """Return how many tokens `pieces` have at most when joined: one more for what joins each to the one before."""
    return sum(piece.tokens + 1 for piece in pieces)


class _Packer:
    """Fills one chunk after the other with pieces in their order."""

    def __init__(self, pages: dict[int, str], sections: Sequence[_Section], count: Count, size: int, overlap: int):
        self._pages, self._sections, self._count = pages, sections, count
        self._size, self._overlap = size, overlap
        self._open: list[TextPiece] = []
        self._repeated = 0
        """How many of the first open pieces repeat the chunk before."""
        self._tokens = 0
        """`_joined` of the open pieces."""
        self._header: TextPiece | None = None
        """Of the last element: the row that names its columns."""
        self.made: list[_Cut] = []

    def place(self, source: Source, uncut: list[TextPiece], has_header: bool) -> None:
        """Add an element: whole where it fits, otherwise cut; `has_header`: its first row names the columns."""
        if self._open and self._open[-1].section != source.section and not self._may_cross(source.section):
            self._seal(None)
        self._header = uncut[0] if has_header else None
        needed = _joined(uncut)
        if self._fits(needed):
            self._add(uncut)
        elif needed <= self._size + 1 and not self._is_tiny():
            self._seal(uncut[0])
            self._add(uncut)
        else:
            for piece in parts(source, uncut, self._count, self._size):
                if not self._fits(_joined([piece])):
                    self._seal(piece)
                self._add([piece])

    def end(self) -> None:
        """Close the last chunk."""
        while self._open:
            self._seal(None)

    def _may_cross(self, section: int) -> bool:
        """Return whether the open chunk may go on into `section`."""
        entered = self._sections[section]
        deeper = entered.level > self._sections[self._open[-1].section].level
        before = {piece.section for piece in self._open}
        tiny = self._tiny(entered.deep_tokens) or all(self._tiny(self._sections[each].tokens) for each in before)
        return (deeper or tiny) and (self._fits(entered.tokens) or self._is_tiny())

    def _tiny(self, tokens: int) -> bool:
        return tokens * TINY < self._size

    def _is_tiny(self) -> bool:
        """Return whether the open chunk would say next to nothing if it were closed."""
        return bool(self._open) and self._tiny(_joined(self._open[self._repeated :]))

    def _fits(self, needed: int) -> bool:
        return self._tokens + needed <= self._size + 1  # the first piece joins nothing

    def _add(self, pieces: list[TextPiece]) -> None:
        """Add pieces, giving up repeated ones where there is no room for both."""
        needed = _joined(pieces)
        while self._repeated and not self._fits(needed):
            self._tokens -= _joined([self._open.pop(0)])
            self._repeated -= 1
        self._open += pieces
        self._tokens += needed

    def _seal(self, following: TextPiece | None) -> None:
        """Close the open chunk and begin the next with what it repeats before `following`.

        The sum over pieces bounds what they have together for tokenizers that merge no worse in company. For any other
        the chunk, which is counted as a whole, gives up pieces until it has at most `size` tokens.
        """
        pieces, repeated = self._open, self._repeated
        moved: list[TextPiece] = []
        while pieces:
            spans = _spans(pieces)
            text = _text(self._pages, spans)
            tokens = pieces[0].tokens if len(pieces) == 1 else self._count(text)
            if tokens <= self._size or len(pieces) == 1:
                self.made.append(_Cut(pieces, spans, text, tokens))
                break
            if repeated:
                pieces, repeated = pieces[1:], repeated - 1
            else:
                moved.insert(0, pieces[-1])
                pieces = pieces[:-1]
        self._open = moved or self._repeat(pieces, following)
        self._repeated = 0 if moved else len(self._open)
        self._tokens = _joined(self._open)

    def _repeat(self, pieces: Sequence[TextPiece], following: TextPiece | None) -> list[TextPiece]:
        """Return the pieces with which the chunk after `pieces` begins."""
        if following is None or not pieces or pieces[-1].section != following.section:
            return []
        header = self._header
        if header is not None and pieces[-1].line[0] == following.line[0]:
            return [header] if header.tokens * 4 <= self._size and header.line != following.line else []
        tail: list[TextPiece] = []
        room = max(self._overlap, self._size // _UNFINISHED) if self._goes_on(pieces[-1], following) else self._overlap
        for piece in reversed(pieces):
            if piece.section != following.section or piece.kind == "title":
                return tail
            text = self._pages[piece.page]
            for start, end in reversed(sentences(text, piece.start, piece.end)):
                tokens = self._count(plain_text(text[start:end]))
                if tokens > room:
                    return tail
                room = min(room, self._overlap) - tokens - 1
                tail.insert(0, replace(piece, start=start, end=end, tokens=tokens))
        return tail

    def _goes_on(self, piece: TextPiece, following: TextPiece) -> bool:
        """Return whether a sentence begins in a piece, and ends in the one that follows it on another page."""
        if piece.kind == "title" or following.kind != "text" or piece.page == following.page:
            return False
        end, begin = self._pages[piece.page][: piece.end], self._pages[following.page][following.start :][:1]
        return begin.islower() and not end.endswith(_ENDS)


def _spans(pieces: Sequence[TextPiece]) -> tuple[Span, ...]:
    """Return the pieces' spans, those on one line as one."""
    made: list[tuple[int, int, int]] = []
    line = None
    for piece in pieces:
        if piece.line == line:
            made[-1] = (piece.page, made[-1][1], piece.end)
        else:
            made.append((piece.page, piece.start, piece.end))
        line = piece.line
    return tuple(Span(page=page, start=start, end=end) for page, start, end in made)


def _text(pages: dict[int, str], spans: Sequence[Span]) -> str:
    """Return what `contracts.corpus.text_at` says, without a look at every page."""
    return "\n".join(plain_text(pages[span.page][span.start : span.end]) for span in spans)


def _chunks(text: Text, sections: Sequence[_Section], cuts: Sequence[_Cut]) -> Chunks:
    ids = [_id(text.document, cut) for cut in cuts]
    made = tuple(
        Chunk(
            id=ids[index],
            document=text.document,
            index=index,
            heading=" › ".join(_path(cut, sections)),
            text=cut.text,
            tokens=cut.tokens,
            spans=cut.spans,
            previous=ids[index - 1] if index else None,
            next=ids[index + 1] if index + 1 < len(ids) else None,
        )
        for index, cut in enumerate(cuts)
    )
    return Chunks(document=text.document, path=text.path, sha256=text.sha256, chunks=made)


def _id(document: str, cut: _Cut) -> str:
    place = ",".join(f"{span.page}:{span.start}-{span.end}" for span in cut.spans)
    return "chunk-" + derived_id(document, place, cut.text).replace("-", "")


def _path(cut: _Cut, sections: Sequence[_Section]) -> tuple[str, ...]:
    """Return the headings above all of a chunk's text, or above all of its headings where it has no other text."""
    body = [piece for piece in cut.pieces if piece.kind != "title"] or cut.pieces
    paths = [sections[number].path for number in dict.fromkeys(piece.section for piece in body)]
    shared = 0
    for titles in zip(*paths, strict=False):
        if len(set(titles)) > 1:
            break
        shared += 1
    return paths[0][:shared]
