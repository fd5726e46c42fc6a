"""Which tokens of an example are trained on: its answers, each with the end of its turn."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

Span = tuple[int, int]
"""Characters [start, end)."""


class UnlabelledError(Exception):
    """No label can be given; the text says why, for the one who wrote the row or chose the model."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def token_spans(offsets: Sequence[Span], spans: Sequence[Span]) -> list[Span] | None:
    """Return where each span's tokens stand; None where a token belongs to a span and to what is beside it."""
    found = []
    for start, end in spans:
        first = bisect_left(offsets, start, key=lambda each: each[0])
        behind = bisect_left(offsets, end, lo=first, key=lambda each: each[0])
        if (first and offsets[first - 1][1] > start) or behind <= first or offsets[behind - 1][1] > end:
            return None
        found.append((first, behind))
    return found


def cut_front(content: str, offsets: Sequence[Span], excess: int) -> str | None:
    """Return `content` without its first `excess` tokens, whose places are `offsets`; None: it has not so many."""
    return content[offsets[excess][0] :].lstrip() or None if excess < len(offsets) else None
