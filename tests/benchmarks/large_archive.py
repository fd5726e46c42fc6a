"""An archive of gigabytes, written to disk in small pieces: documents with large attachments, and other files."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.benchmarks.papers import paper

PIECE = 2**20
DOCUMENTS = 4
SHARE = 0.7
"""Of the archive's bytes that are in documents."""
OTHERS = 60


@dataclass(frozen=True)
class Members:
    """How many members of each sort an archive has."""

    documents: int
    others: int


def write_large(path: Path, size: int) -> Members:
    """Write a ZIP of about `size` stored bytes, none of which can be compressed."""
    rng = Random("large archive")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as made:
        for number in range(DOCUMENTS):
            with made.open(f"scans/{number}.pdf", "w", force_zip64=True) as member:
                for piece in _heavy_pdf(number, int(size * SHARE / DOCUMENTS), rng):
                    member.write(piece)
        for number in range(OTHERS):
            with made.open(f"raw/{number}.bin", "w", force_zip64=True) as member:
                for piece in _noise(int(size * (1 - SHARE) / OTHERS), rng):
                    member.write(piece)
    return Members(DOCUMENTS, OTHERS)


def _noise(size: int, rng: Random) -> Iterator[bytes]:
    yield b"\xff\xd9"  # the start of no format
    for start in range(2, size, PIECE):
        yield rng.randbytes(min(PIECE, size - start))


def _heavy_pdf(number: int, size: int, rng: Random) -> Iterator[bytes]:
    """Yield a PDF of a few pages that was saved again with `size` bytes added, which no page shows."""
    body = paper(4, seed=9000 + number)
    root = re.search(rb"/Root (\d+ \d+ R)", body)
    before = re.findall(rb"startxref\s+(\d+)", body)
    count = re.search(rb"/Size (\d+)", body)
    assert root
    assert before
    assert count
    new = int(count[1])
    head = f"\n{new} 0 obj\n<< /Length {size} >>\nstream\n".encode()
    tail = b"\nendstream\nendobj\n"
    yield body
    yield head
    for start in range(0, size, PIECE):
        yield rng.randbytes(min(PIECE, size - start))
    yield tail
    at = len(body) + len(head) + size + len(tail)
    yield f"xref\n{new} 1\n{len(body) + 1:010} 00000 n \n".encode()
    trailer = f"trailer\n<< /Size {new + 1} /Prev {int(before[-1])} /Root {root[1].decode()} >>\n"
    yield f"{trailer}startxref\n{at}\n%%EOF\n".encode()
