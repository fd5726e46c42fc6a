"""A needle in a haystack: one passage that answers, among others that do not, in a context of a given length."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import bm25s

from contracts.events.benchmarks import Grid
from functions.benchmark_model.core import draw

SHARES = (8, 4, 2)
"""Of what the base can read: the default lengths are an eighth, a quarter and half of it."""
MARGIN = 0.8
"""Share of what the base can read that a context may have: the question, the answer and the template need room too."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Needle:
    """A question and the passage that answers it."""

    question: str
    answer: str
    text: str
    chunk: str
    row: Any
    """Whatever the caller wants back."""


@dataclass(frozen=True, slots=True)
class FoundNeedle:
    """A context for a needle."""

    needle: Needle
    passages: tuple[str, ...]
    by: Mapping[str, str | int]
    absent: bool = False
    """Whether the needle was left out, as a control."""


class Haystack:
    """The passages that a haystack is made of, and which of them are hard to tell from a needle."""

    def __init__(self, chunks: Mapping[str, str], count: Callable[[str], int]) -> None:
        self.chunks, self.count = dict(chunks), count
        self.names = sorted(self.chunks)
        self.tokens = {name: count(self.chunks[name]) + 4 for name in self.names}
        self._index: Any = None
        if self.names:
            self._index = bm25s.BM25()
            self._index.index([_words(self.chunks[name]) or ["-"] for name in self.names], show_progress=False)

    def others(self, needle: Needle, kind: str, seed: int) -> list[str]:
        """Return the chunks that do not hold the answer: those that are most like the question first, or any."""
        answer = " ".join(_words(needle.answer))

        def lacks(name: str) -> bool:
            return name != needle.chunk and answer not in " ".join(_words(self.chunks[name]))

        drawn = sorted(self.names, key=lambda name: draw(seed, "other", needle.chunk, needle.question, name))
        if kind == "hard":
            scores = dict(zip(self.names, self._index.get_scores(_words(needle.question) or ["-"]), strict=True))
            drawn = sorted(drawn, key=lambda name: -float(scores[name]))
        return [name for name in drawn if lacks(name)]


def lengths(grid: Grid, context: int) -> tuple[int, ...]:
    """Return the lengths of the contexts in tokens; those asked for that the base cannot read are left out."""
    asked = grid.lengths or tuple(context // share for share in SHARES)
    return tuple(sorted({length for length in asked if 0 < length <= MARGIN * context}))


def grid(needles: Sequence[Needle], haystack: Haystack, wanted: Grid, context: int, seed: int) -> Iterator[FoundNeedle]:
    """Yield the contexts of every cell, the same needles in each, and each haystack once more without its needle."""
    chosen = sorted(needles, key=lambda each: draw(seed, "needle", each.chunk, each.question))[: wanted.per_cell]
    for needle in chosen:
        for kind in wanted.distractors:
            others = haystack.others(needle, kind, seed)
            for length in lengths(wanted, context):
                for chunks in sorted(set(wanted.chunks)):
                    hay = _fill(needle, others, haystack, length, chunks)
                    if hay is None:
                        continue
                    by: dict[str, str | int] = {"length": length, "chunks": chunks, "distractors": kind}
                    for position in wanted.positions:
                        place = round(position * (chunks - 1))
                        passages = (*hay[1][:place], hay[0], *hay[1][place:])
                        yield FoundNeedle(needle, passages, {**by, "position": f"{position:g}"})
                    yield FoundNeedle(needle, (*hay[1], hay[2]), by, absent=True)


def _fill(
    needle: Needle, others: Sequence[str], haystack: Haystack, length: int, chunks: int
) -> tuple[str, tuple[str, ...], str] | None:
    """Return the needle, the other passages and one in its place, together about `length` tokens; None: too few texts.

    Passages that are too short are joined, those that are too long are cut; the needle itself is never cut.
    """
    room = haystack.count(needle.text) + 4
    if chunks > 1 and room >= length:
        return None
    each = (length - room) / (chunks - 1) if chunks > 1 else 0.0
    rest, filled = iter(others), list[str]()
    for _ in range(chunks):  # one more than the others: it stands in where the needle is left out
        wanted = each if len(filled) < chunks - 1 else float(room)
        text, tokens = [], 0.0
        while tokens < wanted:
            name = next(rest, None)
            if name is None:
                return None
            text.append(haystack.chunks[name])
            tokens += haystack.tokens[name]
        filled.append(_cut(" ".join(text), wanted / max(tokens, 1.0)))
    own = needle.text
    if chunks == 1:
        tail = []
        while room < length and (name := next(rest, None)) is not None:
            tail.append(haystack.chunks[name])
            room += haystack.tokens[name]
        own = " ".join([own, *tail])
    return own, tuple(filled[:-1]), filled[-1]


def _cut(text: str, share: float) -> str:
    """Return the first words of a text, a share of them, one at least."""
    words = text.split(" ")
    return " ".join(words[: max(1, ceil(min(1.0, share) * len(words)))])


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
