"""How blobs become the parts of one object: S3 takes none below 5 MiB, but for the last. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contracts.ports import BlobStat

LEAST = 5 * 2**20


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a blob; None: from its beginning, to its end."""

    key: str
    offset: int | None = None
    length: int | None = None


def joined(sources: Sequence[BlobStat]) -> Iterator[list[Piece]]:
    """Yield for each part the pieces that it is made of; one that is alone needs no rewriting.

    A part of several pieces has less than 15 MiB: of a large blob behind small ones only a beginning is in it.
    """
    held: list[Piece] = []
    size = 0
    for source in sources:
        if not source.bytes:
            continue
        if not held and source.bytes >= LEAST:
            yield [Piece(source.key)]
            continue
        taken = LEAST - size
        if source.bytes - taken < LEAST:  # what is left would be no part
            taken = source.bytes
        held.append(Piece(source.key, 0, taken))
        size += taken
        if size >= LEAST:
            yield held
            held, size = [], 0
            if taken < source.bytes:
                yield [Piece(source.key, taken, source.bytes - taken)]
    if held:
        yield held
