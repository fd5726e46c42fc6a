"""Lines of large blobs are found by number without reading what lies before them; archives say how far they are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from contracts.ports import BlobNotFoundError
from contracts.wire import dataset
from functions.edge import lines
from infra.adapters.memory import MemoryBlobs

KEY = "acme/file-1/dataset/v/rows.jsonl"


class Counting(MemoryBlobs):
    """Blobs that count what is read of them."""

    read = 0

    async def stream(self, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        async for chunk in super().stream(key, offset, length):
            self.read += len(chunk)
            yield chunk


async def stored(sizes: list[int], name: str = "") -> Counting:
    """Lines numbered from 1, each with as many characters as `sizes` says."""
    blobs = Counting()
    rows = [{"text": "ü" * size, "line": number, "chunk": name} for number, size in enumerate(sizes, 1)]
    await blobs.put(KEY, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    return blobs


async def found(blobs: Counting, first: int, count: int) -> list[int]:
    return [json.loads(line)["line"] for line in await lines.numbered(blobs, KEY, first, count)]


@pytest.mark.parametrize("sizes", [[3] * 40, [3] * 20_000, [1, 50_000] * 40, [200_000, 1, 2, 200_000, 3], [90_000] * 9])
async def test_any_line_is_found_whatever_the_lengths(sizes: list[int]) -> None:
    blobs = await stored(sizes)
    last = len(sizes)
    for first in sorted({1, 2, 3, last // 3, last // 2, last - 1, last}):
        assert await found(blobs, first, 3) == list(range(first, min(first + 3, last + 1)))
    assert await found(blobs, last + 1, 3) == []


async def test_a_page_in_the_middle_reads_a_small_part_of_a_large_blob() -> None:
    blobs = await stored([1000] * 20_000)
    size = len(await blobs.get(KEY))
    assert size > 40_000_000
    assert await found(blobs, 13_000, 20) == list(range(13_000, 13_020))
    assert blobs.read < size / 20


async def test_lines_that_name_a_chunk_are_found_across_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "WINDOW", 1000)
    name = "chunk-" + "a" * 32
    blobs = await stored([7, 2000, 9], name)
    assert [json.loads(line)["line"] async for line in lines.naming(blobs, KEY, {name})] == [1, 2, 3]
    assert [line async for line in lines.naming(blobs, KEY, {"chunk-" + "b" * 32})] == []
    assert [line async for line in lines.naming(blobs, KEY, set())] == []


async def test_what_is_not_stored_is_said_so() -> None:
    with pytest.raises(BlobNotFoundError):
        await lines.numbered(MemoryBlobs(), KEY, 1, 1)


COUNTS = {"extracted": 1, "rejected": 1, "chunked": 1, "cut": 2, "made": 0, "kept": 4}


@pytest.mark.parametrize(
    ("changes", "counts", "stage"),
    [
        ({"documents": None}, {}, "unpacking"),
        ({}, {"cut": 1}, "reading documents"),
        ({}, {}, "planning"),
        ({"planned": {"documents": 1}}, {}, "making rows"),
        ({"planned": {"documents": 1}}, {"made": 1}, "assembling"),
        ({"planned": {"documents": 1}, "assembled": {"rows": 9, "coverage": 0.9}}, {"made": 1}, "ready"),
        ({"failed": {"code": "no_coverage", "message": "m", "coverage": 0.1}}, {}, "failed"),
        ({"uploaded": {"purpose": "ingestion"}, "documents": None}, {}, "stored"),
        ({"source": "file-1"}, {}, "assembling"),
        ({"source": "file-1", "assembled": {"rows": 9, "coverage": 0.9}}, {}, "ready"),
    ],
)
def test_an_archive_says_in_words_how_far_it_is(changes: dict[str, Any], counts: dict[str, int], stage: str) -> None:
    archive = {
        "documents": 2,
        "uploaded": {"purpose": "fine-tune"},
        "source": None,
        "planned": None,
        "assembled": None,
        "failed": None,
        **changes,
    }
    shown = dataset.progress(archive, {**COUNTS, **counts})
    assert (shown["stage"], shown["rows_made"]) == (stage, 4)
    assert shown["coverage"] == {"ready": 0.9, "failed": 0.1}.get(stage)
    assert shown["documents"] == {"total": archive["documents"], "extracted": 1, "rejected": 1, "chunked": 1}


async def test_a_line_is_found_by_its_place_whatever_number_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "WINDOW", 1000)
    blobs = MemoryBlobs()
    rows = [b'{"line": %d, "text": "%s"}\n' % (2 * place, b"x" * (place * 300)) for place in range(9)]
    await blobs.put(KEY, b"".join(rows))
    assert [await lines.nth(blobs, KEY, place + 1) + b"\n" for place in range(9)] == rows
    with pytest.raises(BlobNotFoundError):
        await lines.nth(blobs, KEY, 10)
