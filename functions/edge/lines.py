"""JSON lines in the store, found by number or by what they name; never more than a window of them in memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection

import msgspec

from contracts.ports import BlobNotFoundError, Blobs

PROBE = 2**16
"""Bytes that are read to see which line stands at a place."""
WINDOW = 2**20
"""Bytes that are searched at once."""
_ID = re.compile(rb"(?:chunk|row)-[0-9a-f]{32}")


class _Numbered(msgspec.Struct):
    line: int


_NUMBER = msgspec.json.Decoder(_Numbered)


async def numbered(blobs: Blobs, key: str, first: int, count: int) -> list[bytes]:
    """Return `count` lines at most, from the one whose `line` is `first`; raises BlobNotFoundError.

    Every line is an object that says its own number, in order: bisection finds the place in a blob of any size.
    """
    size = await _size(blobs, key)
    found: list[bytes] = []
    async for lines in _windows(blobs, key, await _place(blobs, key, size, first), size, PROBE):
        found += [line for line in lines if found or _NUMBER.decode(line).line >= first]
        if len(found) >= count:
            break
    return found[:count]


async def naming(blobs: Blobs, key: str, names: Collection[str]) -> AsyncIterator[bytes]:
    """Yield the lines that name one of these chunks or rows; the whole blob is read, and never held."""
    wanted = frozenset(name.encode() for name in names)
    if wanted:
        async for lines in _windows(blobs, key, 0, await _size(blobs, key), WINDOW):
            for line in await asyncio.to_thread(_naming, lines, wanted):
                yield line


def _naming(lines: list[bytes], wanted: frozenset[bytes]) -> list[bytes]:
    return [line for line in lines if not wanted.isdisjoint(_ID.findall(line))]


async def nth(blobs: Blobs, key: str, number: int) -> bytes:
    """Return the line of a number, counted from 1, whatever lines say of themselves; raises BlobNotFoundError."""
    async for found in _windows(blobs, key, 0, await _size(blobs, key), WINDOW):
        if number <= len(found):
            return found[number - 1]
        number -= len(found)
    raise BlobNotFoundError(f"{key} ends before the line that is asked for")


async def _size(blobs: Blobs, key: str) -> int:
    stat = await blobs.stat(key)
    if stat is None:
        raise BlobNotFoundError(key)
    return stat.bytes


async def _place(blobs: Blobs, key: str, size: int, number: int) -> int:
    """Return where a line begins that is not behind `number`, and at most a probe away from it or the line itself."""
    low, high = 0, size
    while high - low > PROBE:
        middle = (low + high) // 2
        start, line = await _next_line(blobs, key, middle, size)
        if start >= high or _NUMBER.decode(line).line > number:
            high = middle + 1  # no line begins between there and `start`
        else:
            low = start
    return low


async def _next_line(blobs: Blobs, key: str, offset: int, size: int) -> tuple[int, bytes]:
    """Return the first line that begins behind `offset`, and where; (size, b"") where there is none."""
    found: list[bytes] = []
    async for lines in _windows(blobs, key, offset, size, PROBE):
        found += lines
        if len(found) > 1:
            return offset + len(found[0]) + 1, found[1]
    return size, b""


async def _windows(blobs: Blobs, key: str, offset: int, size: int, window: int) -> AsyncIterator[list[bytes]]:
    """Yield the lines from `offset` on, as many at a time as end within a window; each ends with a newline."""
    rest = b""
    while offset < size:
        data = b"".join([chunk async for chunk in blobs.stream(key, offset, min(window, size - offset))])
        if not data:
            return
        offset += len(data)
        *lines, rest = (rest + data).split(b"\n")
        yield lines
