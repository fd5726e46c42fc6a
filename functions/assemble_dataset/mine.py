"""Hard distractors: the passages that BM25 finds for a question, by the library bm25s."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import bm25s
import numpy as np

from contracts.corpus import Example
from functions.assemble_dataset.core import SPLITS, Passage, normal

SHELF = 1024
"""Passages that are searched together: beyond that a question is put to its own document's neighbourhood alone, so
that its cost does not grow with the archive."""
CANDIDATES = 64
"""How many of the best are returned; those that answer the question are sorted out later."""


def shelves(passages: Sequence[Passage]) -> Iterator[list[int]]:
    """Yield the places of passages that are searched together: of one split, neighbours."""
    for split in SPLITS:
        members = [place for place, passage in enumerate(passages) if passage.split == split]
        # Shelves of like length, so that the last one is not left with a handful.
        count = -(-len(members) // SHELF)
        yield from (members[len(members) * n // count : len(members) * (n + 1) // count] for n in range(count))


class Miner:
    """Ranks the passages of a split for questions; passages sorted by path keep likely confounders together."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._shards: list[_Shard] = []
        self._shard_of: dict[str, int] = {}
        for members in shelves(passages):
            self._shard_of |= {passages[place].chunk.id: len(self._shards) for place in members}
            self._shards.append(_Shard(members, passages))

    def __call__(self, example: Example) -> list[int]:
        """Return the places of the passages most like the question, the best first."""
        return self._shards[self._shard_of[example.chunk]].search(example.question)


class _Shard:
    def __init__(self, members: Sequence[int], passages: Sequence[Passage]) -> None:
        self._members = np.asarray(members)
        # The library numbers words by the order of a set, which differs between runs; these ids do not.
        self._words: dict[str, int] = {}
        texts = [
            [self._words.setdefault(word, len(self._words)) for word in passages[place].words.split()]
            for place in members
        ]
        self._bm25 = bm25s.BM25(backend="numpy", csc_backend="numpy")
        if self._words:
            self._bm25.index((texts, dict(self._words)), show_progress=False)

    def search(self, question: str) -> list[int]:
        words = dict.fromkeys(self._words[word] for word in normal(question).split() if word in self._words)
        if not words:
            return []
        scores = self._bm25.get_scores(list(words))
        alike = np.flatnonzero(scores)
        if len(alike) > CANDIDATES:
            # With all that are as good as the last one: which of equals come out must not depend on the partition.
            least = np.partition(scores, -CANDIDATES)[-CANDIDATES]
            alike = np.flatnonzero(scores >= least)
        order = np.lexsort((alike, -scores[alike]))[:CANDIDATES]
        return [int(place) for place in self._members[alike[order]]]
