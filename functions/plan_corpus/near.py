"""Chunks that say the same in other words: the cosine of their vectors, and the same numbers in both.

A model of embeddings hardly sees what number stands in a text: the notes of two versions of a program, or two rows of a
table, are as near as two wordings of one fact. What has other numbers says something else.
Products of blocks in float32 find the candidates; float64, rounded, decides, so that what is found does not depend on
how a processor sums. Memory: the vectors twice, and a block's products.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from contracts.corpus import Chunk, Finder

BLOCK = 256
"""Chunks whose products are made at once."""
_NUMBER = re.compile(r"\w*\d\w*")
"""Also a name with a digit in it."""
_DIGITS = 6
_SLACK = 1e-4
"""More than a product of float32 is wrong by."""
Vectors = NDArray[np.float32]
"""[n, dimensions], each of length 1."""


class Near:
    """Finds to a chunk the most similar one of those that stay; chunks are asked about in one order, known before."""

    by: Finder = "embedding"

    def __init__(self, vectors: Vectors, rows: Mapping[str, int], order: Sequence[str], similar: float) -> None:
        """`rows`: chunk → its row of `vectors`; `order`: the chunks as they will come; `similar`: the least cosine."""
        self._vectors, self._rows, self._similar = vectors, rows, similar
        self._order, self._places = order, {chunk: place for place, chunk in enumerate(order)}
        self._stay = np.empty_like(vectors)
        self._numbers: dict[frozenset[str], int] = {}
        self._stay_numbers = np.empty(len(order), dtype=np.int64)
        self._own_numbers = -1
        self._ids: list[str] = []
        self._block, self._known = -1, 0
        self._products: Vectors = np.empty((0, 0), np.float32)

    def find(self, chunk: Chunk) -> tuple[float, str] | None:
        """Return cosine and id of the chunk that makes this one superfluous, of equal ones the first; None: none."""
        place, own = self._places[chunk.id], self._vectors[self._rows[chunk.id]]
        if place // BLOCK != self._block:
            self._multiply(place // BLOCK)
        since = self._stay[self._known : len(self._ids)] @ own
        products = np.concatenate([self._products[place % BLOCK], since])
        said = frozenset(_NUMBER.findall(chunk.text.lower()))
        self._own_numbers = self._numbers.setdefault(said, len(self._numbers))
        products[self._stay_numbers[: len(products)] != self._own_numbers] = -1.0
        most = float(products.max(initial=-1.0))
        if most < self._similar - _SLACK:
            return None
        near = np.flatnonzero(products >= max(most, self._similar) - _SLACK)
        exact = np.round(self._stay[near].astype(np.float64) @ own.astype(np.float64), _DIGITS)
        best = int(np.argmax(exact))
        return (min(float(exact[best]), 1.0), self._ids[near[best]]) if exact[best] >= self._similar else None

    def keep(self, chunk: Chunk) -> None:
        """Say that the chunk that was asked about last stays."""
        self._stay_numbers[len(self._ids)] = self._own_numbers
        self._stay[len(self._ids)] = self._vectors[self._rows[chunk.id]]
        self._ids.append(chunk.id)

    def _multiply(self, block: int) -> None:
        self._block, self._known = block, len(self._ids)
        rows = [self._rows[chunk] for chunk in self._order[block * BLOCK : (block + 1) * BLOCK]]
        self._products = self._vectors[rows] @ self._stay[: self._known].T
