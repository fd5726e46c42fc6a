"""What lies in the blobs between a document and a data set; every span leads back to the text of a page.

A quote is verbatim when it equals the page's text at its span, runs of white space counting as one space.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.envelope import derived_id
from contracts.events.corpus import Generator

Kind = Literal["title", "text", "list", "table"]
Split = Literal["train", "held_out"]
Finder = Literal["minhash", "embedding"]
"""What finds chunks that say the same: their words, or their vectors."""


class CorpusPart(BaseModel):
    """A part of such a blob."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Member(CorpusPart):
    """One member of an archive: taken (it has a document) or skipped (it has a code and a sentence)."""

    path: str
    """Its name in the archive; a member of an archive within is `inner.zip/name`. Never a path on a disk."""
    bytes: int
    sha256: str
    document: str | None = None
    format: str | None = None
    """One of `contracts.formats.Format`, by content."""
    code: str | None = None
    """empty, unsupported, duplicate, boilerplate, encrypted, too_large, broken, unsafe_path."""
    message: str | None = None


class Span(CorpusPart):
    """Characters [start, end) of a page's text."""

    page: int
    """1-based; a format without pages is one page."""
    start: int
    end: int


class Page(CorpusPart):
    """A page's text, as extracted."""

    number: int
    """1-based."""
    text: str


class Element(CorpusPart):
    """A heading, paragraph, list item or table."""

    kind: Kind
    span: Span
    level: int | None = None
    """Of a heading: 1 is the highest."""


class Text(CorpusPart):
    """A document's text; `{tenant}/{archive}/documents/{document}/text.json`."""

    document: str
    path: str
    format: str
    sha256: str
    """Of the document's bytes."""
    paged: bool
    """Whether the format has pages; otherwise all text is on page 1."""
    pages: tuple[Page, ...]
    elements: tuple[Element, ...]


class Chunk(CorpusPart):
    """A piece of a document, in the target model's tokens."""

    id: str
    """`chunk-` and 32 hexadecimal digits, from the document, the place and the text."""
    document: str
    index: int
    """0-based place in the document."""
    heading: str = ""
    """Headings above it, joined by ` › `."""
    text: str
    """`text_at` of its spans."""
    tokens: int
    spans: tuple[Span, ...] = Field(min_length=1)
    previous: str | None = None
    next: str | None = None


class Chunks(CorpusPart):
    """A document's chunks; `{tenant}/{archive}/documents/{document}/chunks.json`."""

    document: str
    path: str
    sha256: str
    """Of the document's bytes."""
    chunks: tuple[Chunk, ...]


class PlannedChunk(CorpusPart):
    """What becomes of a chunk."""

    chunk: str
    document: str
    split: Split
    rows: int
    """Rows asked of it."""


class DroppedChunk(CorpusPart):
    """A chunk of which nothing is made, because another one says the same."""

    chunk: str
    document: str
    of: str
    """The chunk that stays."""
    similarity: float
    """Jaccard similarity of their 5-shingles, or the cosine of their vectors; 1 for the same text."""
    by: Finder = "minhash"
    """What found it."""


class CorpusPlan(CorpusPart):
    """What is made of which chunk; `{tenant}/{archive}/plan.json`, chunks sorted by id."""

    seed: int
    chunks: tuple[PlannedChunk, ...]
    dropped: tuple[DroppedChunk, ...]
    rejected_documents: tuple[str, ...]
    duplicate_similarity: float | None = None
    """Cosine from which on one of two chunks was dropped; None: their vectors were not compared."""


class Example(CorpusPart):
    """A question about a chunk; one line of `{tenant}/{archive}/documents/{document}/examples.jsonl`."""

    id: str
    """`row-` and 32 hexadecimal digits, from the chunk, question and answer."""
    document: str
    chunk: str
    split: Split
    question: str
    answer: str
    quote: str
    """The words of the chunk that say so, verbatim."""
    span: Span
    """Where the quote stands."""
    generator: Generator
    model: str = ""
    """The endpoint's model."""
    prompt: str = ""
    """Version of the prompt that asked, or of the extractive rules."""
    reply: str = ""
    """Key of the recorded reply."""
    scores: Mapping[str, float] = Field(default_factory=dict)
    code: str | None = None
    """Why it was rejected: unfaithful, not_self_contained, answerable_without_context, duplicate, quote_not_found,
    leaks_held_out."""
    message: str | None = None


class RowOrigin(CorpusPart):
    """Where a row of a data set comes from; one line beside each row."""

    line: int
    """1-based line of the row in the data set."""
    example: str
    document: str
    path: str
    sha256: str
    """Of the document's bytes."""
    chunk: str
    index: int | None = None
    """0-based place of the chunk in its document; None where there is no document."""
    quote: str
    span: Span | None
    """None where the row's right answer is that its context does not say."""
    distractors: tuple[str, ...]
    """Chunks beside the right one."""
    position: int | None
    """0-based place of the right chunk among those shown."""
    variant: int
    """Rows of one example are variants: other distractors, another order."""
    generator: Generator | None
    """None: a general row against forgetting, which no document is behind; `sha256` is of the file it came in."""
    scores: Mapping[str, float] = Field(default_factory=dict)


def document_id(archive: str, sha256: str) -> str:
    """Return the id of the document with these bytes in an archive: `doc-` and 32 hexadecimal digits."""
    return f"doc-{derived_id(archive, sha256).replace('-', '')}"


def plain_text(text: str) -> str:
    """Return `text` with every run of white space as one space, none at its ends."""
    return " ".join(text.split())


def text_at(pages: Sequence[Page], spans: Sequence[Span]) -> str:
    """Return the pages' text at `spans`, white space plain, a line for each span."""
    by_number = {page.number: page.text for page in pages}
    return "\n".join(plain_text(by_number[span.page][span.start : span.end]) for span in spans)


def find_quote(pages: Sequence[Page], within: Sequence[Span], quote: str) -> Span | None:
    """Return the first place of `quote` inside the spans `within`, or None; it may differ in white space alone."""
    words = quote.split()
    if not words:
        return None
    pattern = re.compile(r"\s+".join(map(re.escape, words)))
    by_number = {page.number: page.text for page in pages}
    for span in within:
        found = pattern.search(by_number[span.page], span.start, span.end)
        if found is not None:
            return Span(page=span.page, start=found.start(), end=found.end())
    return None
