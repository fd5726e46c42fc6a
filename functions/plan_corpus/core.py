"""What is made of an archive's chunks: duplicates dropped, sections held out, rows asked for.

Nothing depends on the order in which documents come: they are sorted by their content, and chance is a hash of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contracts.corpus import Chunk, Chunks, CorpusPlan, PlannedChunk, Split
from functions.plan_corpus.duplicates import Finds, duplicates

Nearby = Callable[[Sequence[str]], Finds]
"""Chunks in the order in which they will come → what finds those that are near another one by their vectors."""
MANY_DOCUMENTS = 10
"""From so many on whole documents are held out; of fewer, sections."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Chunks that are held out together or not at all."""

    key: str
    """From content alone, so that the same archive uploaded twice is split alike."""
    chunks: tuple[Chunk, ...]

    @property
    def tokens(self) -> int:
        return sum(chunk.tokens for chunk in self.chunks)


def plan(
    documents: Sequence[Chunks],
    rejected: Sequence[str],
    held_out: float,
    rows_per_chunk: int,
    nearby: Nearby | None = None,
) -> CorpusPlan:
    """Return what becomes of each chunk; `held_out` is the share of tokens that training never sees.

    Of chunks that say the same, by their words or else, with `nearby`, by their vectors, only the first stays, before
    anything is held out: so no held-out chunk has a near duplicate in training, and it is never in doubt which of a
    pair across the boundary goes. Chunks that share text are on one side. At least one document or section is held out
    unless it is the only one, and below a share of 1 at least one is trained on. A chunk of average length is asked for
    `rows_per_chunk` rows, others in proportion: at least 1, at most twice as many.
    """
    ordered = sorted(documents, key=lambda each: (each.sha256, each.document))
    in_order = [sorted(each.chunks, key=lambda chunk: chunk.index) for each in ordered]
    every = [chunk for chunks in in_order for chunk in chunks]
    dropped = duplicates(every, nearby([chunk.id for chunk in every]) if nearby else None)
    gone = {each.chunk for each in dropped}
    stay = [
        (each.sha256, [chunk for chunk in chunks if chunk.id not in gone])
        for each, chunks in zip(ordered, in_order, strict=True)
    ]
    seed = _seed(ordered)
    groups = _groups([(sha256, chunks) for sha256, chunks in stay if chunks])
    secret = {chunk.id for group in _held_out(groups, seed, held_out) for chunk in group.chunks}
    planned = _budget([chunk for _, chunks in stay for chunk in chunks], secret, rows_per_chunk)
    return CorpusPlan(
        seed=seed,
        chunks=tuple(sorted(planned, key=lambda each: each.chunk)),
        dropped=tuple(sorted(dropped, key=lambda each: each.chunk)),
        rejected_documents=tuple(sorted(rejected)),
    )


def _seed(documents: Sequence[Chunks]) -> int:
    """Return a seed below 2**48, which JSON keeps exactly."""
    content = "".join(each.sha256 for each in documents)
    return int.from_bytes(hashlib.sha256(content.encode()).digest()[:6], "big")


def _groups(documents: Sequence[tuple[str, list[Chunk]]]) -> list[_Group]:
    if len(documents) >= MANY_DOCUMENTS:
        return [_Group(sha256, tuple(chunks)) for sha256, chunks in documents]
    return [
        _Group(f"{sha256}/{section[0].index}", tuple(section))
        for sha256, chunks in documents
        for section in _sections(chunks)
    ]


def _sections(chunks: Sequence[Chunk]) -> list[list[Chunk]]:
    """Return a document's chunks by the headings above them; those that share text are of one section."""
    parent = list(range(len(chunks)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    def join(one: int, other: int) -> None:
        first, second = sorted((root(one), root(other)))
        parent[second] = first

    by_heading: dict[str, int] = {}
    for at, chunk in enumerate(chunks):
        join(by_heading.setdefault(chunk.heading, at), at)
    page, end, last = 0, 0, 0
    for number, start, stop, at in sorted(
        (span.page, span.start, span.end, at) for at, chunk in enumerate(chunks) for span in chunk.spans
    ):
        if number == page and start < end:
            join(last, at)
        else:
            page, end = number, 0
        if stop > end:
            end, last = stop, at
    made: dict[int, list[Chunk]] = {}
    for at, chunk in enumerate(chunks):
        made.setdefault(root(at), []).append(chunk)
    return list(made.values())


def _held_out(groups: Sequence[_Group], seed: int, share: float) -> list[_Group]:
    """Return groups in an order of chance as long as each brings their tokens nearer to the share."""

    def chance(group: _Group) -> str:
        return hashlib.sha256(f"{seed}/{group.key}".encode()).hexdigest()

    order = sorted(groups, key=chance)
    most = len(order) if share >= 1 else len(order) - 1
    missing = share * sum(group.tokens for group in order)
    taken: list[_Group] = []
    for group in order:
        if len(taken) < most and group.tokens <= 2 * missing:
            taken.append(group)
            missing -= group.tokens
    if not taken and share > 0 and most > 0:
        taken = [min(order, key=lambda group: group.tokens)]
    return taken


def _budget(chunks: Sequence[Chunk], secret: set[str], rows_per_chunk: int) -> list[PlannedChunk]:
    tokens = max(1, sum(chunk.tokens for chunk in chunks))

    def rows(chunk: Chunk) -> int:
        wanted = round(rows_per_chunk * chunk.tokens * len(chunks) / tokens)
        return max(1, min(wanted, 2 * rows_per_chunk))

    def split(chunk: Chunk) -> Split:
        return "held_out" if chunk.id in secret else "train"

    return [
        PlannedChunk(chunk=chunk.id, document=chunk.document, split=split(chunk), rows=rows(chunk)) for chunk in chunks
    ]
