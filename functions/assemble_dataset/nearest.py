"""Hard distractors by vectors: the passages nearest to a question, none so near that it may answer it too.

NV-Retriever's TopK-PercPos (arXiv 2407.15831): what is at least 95 % as near as the right passage may well be right
itself, and teaching a model that it is not would harm it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.corpus import CorpusPlan, Example
from functions.assemble_dataset.contexts import Allowed, Rank
from functions.assemble_dataset.core import Passage
from functions.assemble_dataset.mine import CANDIDATES, shelves

PERC_POS = 0.95
"""Share of the right passage's cosine below which another one's has to be."""
_FUSION = 60
"""How little the first places count more than later ones; the paper's."""
_DIGITS = 5
"""Of a cosine that are told apart: its last ones depend on how a processor sums."""
Cosines = NDArray[np.float32]


def fused(*ranks: Rank) -> Rank:
    """Return the ranking of several together: reciprocal rank fusion (Cormack and others, SIGIR 2009)."""

    def rank(example: Example) -> list[int]:
        scores: dict[int, float] = defaultdict(float)
        for each in ranks:
            for number, place in enumerate(each(example), 1):
                scores[place] += 1 / (_FUSION + number)
        return sorted(scores, key=lambda place: (-scores[place], place))

    return rank


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of length 1 by id."""

    values: NDArray[np.float32]
    """[n, dimensions]."""
    rows: Mapping[str, int]

    def of(self, id: str) -> NDArray[np.float32]:
        """Return the vector of one."""
        found: NDArray[np.float32] = self.values[self.rows[id]]
        return found


def chunk_rows(plan: CorpusPlan) -> dict[str, int]:
    """Return chunk → its row among the vectors of all chunks of an archive."""
    chunks = sorted([*(each.chunk for each in plan.chunks), *(each.chunk for each in plan.dropped)])
    return {chunk: row for row, chunk in enumerate(chunks)}


class Nearest:
    """Ranks the passages of a question's shelf by its cosine with them."""

    def __init__(self, passages: Sequence[Passage], chunks: Vectors, questions: Vectors) -> None:
        """`chunks` has every passage's chunk, `questions` every example's question."""
        self._chunks, self._questions = chunks, questions
        self._rows = np.array([chunks.rows[passage.chunk.id] for passage in passages], dtype=np.int64)
        self._shelf_of: dict[str, NDArray[np.int64]] = {}
        for members in shelves(passages):
            shelf = np.asarray(members, dtype=np.int64)
            self._shelf_of |= dict.fromkeys((passages[place].chunk.id for place in members), shelf)

    def __call__(self, example: Example) -> list[int]:
        """Return the places of the passages nearest to the question that may not answer it, the nearest first."""
        shelf = self._shelf_of[example.chunk]
        cosines = self._cosines(example, self._chunks.values[self._rows[shelf]])
        below = np.flatnonzero(cosines < self._bound(example))
        order = np.lexsort((below, -cosines[below]))[:CANDIDATES]
        return [int(place) for place in shelf[below[order]]]

    def allows(self, example: Example) -> Allowed:
        """Return what says of a place whether its passage is less near to the question than one that answers it."""
        bound = self._bound(example)

        def below(place: int) -> bool:
            row = self._rows[place]
            return bool(self._cosines(example, self._chunks.values[row : row + 1])[0] < bound)

        return below

    def _bound(self, example: Example) -> float:
        own = self._chunks.rows[example.chunk]
        cosine = float(self._cosines(example, self._chunks.values[own : own + 1])[0])
        return cosine - (1 - PERC_POS) * abs(cosine)  # below it also where it is negative

    def _cosines(self, example: Example, chunks: NDArray[np.float32]) -> Cosines:
        found: Cosines = np.round(chunks @ self._questions.of(example.id), _DIGITS)
        return found
