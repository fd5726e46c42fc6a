"""How much a generator is asked at once, and how long it is waited for, by how fast it answered before; pure."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_EACH, _MOST_MORE = 300, 500
"""Tokens for a pair, and for whatever stands around them, where there is time for it."""
_LEAST_EACH, _LEAST_MORE = 200, 50
"""The same where there is not."""
LONGEST = 120.0
"""Seconds that a request is waited for; what the clients of endpoints wait themselves."""
_SHORTEST = 20.0
_LATE = 4.0
"""A request that takes so many times as long as expected is late: others are asked beside it."""
_LETTERS = 4
"""Characters of a token in most vocabularies and languages; a smaller one makes a generator faster than it seems."""
TOKENS_OF_ROW = 120
"""What a question, its answer and its quote take in most replies."""


@dataclass(frozen=True, slots=True)
class Size:
    """Of a request."""

    pairs: int
    tokens: int
    """`max_tokens`."""
    seconds: float = LONGEST
    """How long it is waited for."""


FIRST = Size(1, _LEAST_MORE + _LEAST_EACH)
"""The small request that measures a generator: one pair."""


def measured(text: str, size: Size, seconds: float) -> float:
    """Return tokens a second of a reply; an empty one was all thinking, and took what it was given.

    One that is short took its time for other things, and is taken for half of what it might have been.
    """
    tokens = min(size.tokens, len(text) / _LETTERS) if text else size.tokens
    return max(size.tokens / 2, tokens) / max(seconds, 1e-3)


def sized(rate: float | None, rows: int, seconds: float) -> Size | None:
    """Return the request for at most `rows` pairs that a generator of this rate (tokens a second) ends in `seconds`.

    None: it would not even end one pair. Of a rate that nobody knows it is assumed to be high.
    """
    full = _MOST_MORE + _MOST_EACH * rows
    if rate is None:
        return Size(rows, full)
    room = int(rate * seconds)
    if room < FIRST.tokens:
        return None
    pairs = rows if room >= full else max(1, min(rows, (room - _LEAST_MORE) // _LEAST_EACH))
    tokens = min(full, room)
    return Size(pairs, tokens, min(LONGEST, max(_SHORTEST, _LATE * tokens / rate)))


def long(rows: int, rate: float) -> float:
    """Return the seconds that so many rows take at a rate."""
    return rows * TOKENS_OF_ROW / max(rate, 1e-3)
