"""How an upload's chunks become parts."""

import random
from collections.abc import AsyncIterator

import pytest

from infra.adapters.minio.multipart import PART_BYTES, regrouped


@pytest.mark.parametrize("size", [1, 70_000, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 7])
@pytest.mark.parametrize("chunk", [65_536, 100_000, PART_BYTES + 9])
async def test_parts_hold_what_came_though_what_was_sent_is_filled_again(size: int, chunk: int) -> None:
    data = random.Random(size).randbytes(size)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, size, chunk):
            yield data[start : start + chunk]

    sent: list[bytearray] = []
    came, sizes, used = bytearray(), [], set()
    async for part in regrouped(chunks(), sent):
        came += part
        sizes.append(len(part))
        used.add(id(part))
        if len(part) == PART_BYTES:
            sent.append(part)
    assert came == data
    assert sizes == [PART_BYTES] * (size // PART_BYTES) + [size % PART_BYTES] * (size % PART_BYTES > 0)
    assert len(used) <= 2


async def test_no_content_is_no_part() -> None:
    async def nothing() -> AsyncIterator[bytes]:
        for chunk in (b"", b""):
            yield chunk

    assert [part async for part in regrouped(nothing(), [])] == []
