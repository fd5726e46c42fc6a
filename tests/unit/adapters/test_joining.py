"""Which parts an object is made of: none but the last below 5 MiB, and as little as can be is rewritten."""

from __future__ import annotations

import random

import pytest

from contracts.ports import BlobStat
from infra.adapters.minio.joining import LEAST, joined

MEBI = 2**20


@pytest.mark.parametrize("seed", range(50))
def test_any_blobs_become_parts_that_the_store_takes(seed: int) -> None:
    choose = random.Random(seed)
    sizes = [choose.choice([0, 1, 3 * MEBI, LEAST - 1, LEAST, LEAST + 1, 2 * LEAST, 64 * MEBI]) for _ in range(12)]
    sources = [BlobStat(f"a/b/{number}", size, "") for number, size in enumerate(sizes)]
    parts = list(joined(sources))
    of_parts = [
        sum(piece.length if piece.length is not None else sizes[int(piece.key[4:])] for piece in part) for part in parts
    ]
    assert all(size >= LEAST for size in of_parts[:-1])
    assert sum(of_parts) == sum(sizes)
    place = {source.key: 0 for source in sources}
    order = []
    for part in parts:
        for piece in part:
            assert (piece.offset or 0) == place[piece.key]
            place[piece.key] += piece.length if piece.length is not None else sizes[int(piece.key[4:])]
            order.append(int(piece.key[4:]))
    assert order == sorted(order)
    rewritten = [size for size, part in zip(of_parts, parts, strict=True) if len(part) > 1]
    assert all(size < 3 * LEAST for size in rewritten)
