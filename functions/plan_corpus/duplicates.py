"""Chunks that say the same: MinHash finds the candidates, the exact Jaccard similarity of their shingles decides.

A shingle is five words in a row in lower case, whatever marks stand between them: copies of a text differ in quotes,
bullets and comment signs. A text of fewer words is one shingle.
Shingles are compared by 64-bit hashes. With 32 bands of 4 hashes a pair of similarity 0.75 escapes with probability
5·10⁻⁶ (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, 3.4).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Protocol

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

from contracts.corpus import Chunk, DroppedChunk, Finder

WORDS = 5
"""Of a shingle."""
SIMILAR = 0.75
"""Jaccard similarity from which on one chunk is enough. 0.8 is usual; other ways to part words differ by hundredths."""
_BANDS, _ROWS = 32, 4
_WORD = re.compile(r"\w+")
_MULTIPLIER = 0x9E3779B97F4A7C15
_MIX = ((33, 0xFF51AFD7ED558CCD), (33, 0xC4CEB9FE1A85EC53))  # MurmurHash3's finalizer
Hashes = NDArray[np.uint64]


class Finds(Protocol):
    """Finds to a chunk one that says the same, of those that stay."""

    by: Finder

    def find(self, chunk: Chunk) -> tuple[float, str] | None:
        """Return similarity and id of the chunk that makes this one superfluous, or None."""
        ...

    def keep(self, chunk: Chunk) -> None:
        """Say that the chunk that was asked about last stays."""
        ...


def duplicates(chunks: Iterable[Chunk], near: Finds | None = None) -> tuple[DroppedChunk, ...]:
    """Return the chunks, in their order, that an earlier one which stays makes superfluous, with the most similar.

    `near` is asked about those whose words are like no other's.
    """
    finders: list[Finds] = [MinHashed(), *([near] if near else [])]
    dropped = []
    for chunk in chunks:
        for finder in finders:
            if (found := finder.find(chunk)) is not None:
                similarity, other = found
                dropped.append(
                    DroppedChunk(chunk=chunk.id, document=chunk.document, of=other, similarity=similarity, by=finder.by)
                )
                break
        else:
            for finder in finders:
                finder.keep(chunk)
    return tuple(dropped)


class MinHashed:
    """Finds chunks by their words."""

    by: Finder = "minhash"

    def __init__(self) -> None:
        self._vocabulary: dict[str, int] = {}
        self._stays: dict[str, Hashes] = {}
        self._same: dict[bytes, str] = {}
        self._index = MinHashLSH(num_perm=_BANDS * _ROWS, params=(_BANDS, _ROWS))
        self._empty = MinHash(num_perm=_BANDS * _ROWS, seed=1, hashfunc=int)
        self._asked: tuple[Hashes, bytes, MinHash]

    def find(self, chunk: Chunk) -> tuple[float, str] | None:
        """Return Jaccard similarity and id of the chunk that makes this one superfluous, or None."""
        hashes = _shingles(chunk.text, self._vocabulary)
        digest = hashlib.blake2b(hashes.tobytes(), digest_size=16).digest()
        twin = self._same.get(digest)
        if twin is not None:
            return 1.0, twin
        sketch = self._empty.copy()
        sketch.update_batch((hashes & np.uint64(0xFFFFFFFF)).tolist())
        self._asked = hashes, digest, sketch
        found = max(((jaccard(hashes, self._stays[each]), each) for each in self._index.query(sketch)), default=None)
        return found if found is not None and found[0] >= SIMILAR else None

    def keep(self, chunk: Chunk) -> None:
        """Say that the chunk that was asked about last stays."""
        hashes, digest, sketch = self._asked
        self._same[digest] = chunk.id
        self._stays[chunk.id] = hashes
        self._index.insert(chunk.id, sketch)


def jaccard(one: Hashes, other: Hashes) -> float:
    """Return the similarity of two sets, given as sorted arrays without repetition."""
    if min(len(one), len(other)) < SIMILAR * max(len(one), len(other)):
        return 0.0  # below SIMILAR, whatever they share
    at = np.minimum(np.searchsorted(one, other), len(one) - 1)
    shared = int(np.count_nonzero(one[at] == other))
    return shared / (len(one) + len(other) - shared)


def _shingles(text: str, vocabulary: dict[str, int]) -> Hashes:
    """Return the hashes of a text's shingles, sorted; `vocabulary` keeps the hashes of words."""
    lower = text.lower()
    words = _WORD.findall(lower) or lower.split()
    for word in words:
        if word not in vocabulary:
            digest = hashlib.blake2b(word.encode(errors="surrogatepass"), digest_size=8).digest()
            vocabulary[word] = int.from_bytes(digest, "big")
    hashed = np.array([vocabulary[word] for word in words], dtype=np.uint64)
    width = min(WORDS, len(words))
    made = np.zeros(len(words) - width + 1, dtype=np.uint64)
    for place in range(width):  # a polynomial in the words' places, modulo 2**64
        made = made * np.uint64(_MULTIPLIER) + hashed[place : place + len(made)]
    for shift, factor in _MIX:
        made = (made ^ (made >> np.uint64(shift))) * np.uint64(factor)
    return np.unique(made ^ (made >> np.uint64(33)))
