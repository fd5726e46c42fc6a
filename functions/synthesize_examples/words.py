"""Words of a text as they are compared: folded, cut to a stem, without those that carry no content."""

from __future__ import annotations

import re
from collections.abc import Iterable

_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # written without spaces: each character counts as a word
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+(?:[.,:'’][^\W_{_CJK}]+)*")
_STEM = 6
_NO_CONTENT = """
    a an and are as at be been being but by can could did do does for from had has have how if in into is it its
    may might must of on or our shall should so such than that the their them then there these they this those to
    was were what when where which who whom whose why will with would you your we us i he she his her
"""
_EMPTY = frozenset(_NO_CONTENT.split())
_COUNTS = "two three four five six seven eight nine ten eleven twelve"
_NUMBERS = {
    word: str(number)  # not "one", which is seldom a count
    for number, word in enumerate(_COUNTS.split(), 2)
}
_NEGATIONS = frozenset({"not", "no", "never", "neither", "nor", "cannot", "without", "none"})


def words(text: str) -> list[str]:
    """Return the words of `text` in order, folded, number words as digits."""
    return [_NUMBERS.get(word, word) for word in (found.group().casefold() for found in _WORD.finditer(text))]


def content(text: str) -> set[str]:
    """Return the stems of the words that carry content."""
    return {_stem(word) for word in words(text) if word not in _EMPTY and word not in _NEGATIONS}


def numbers(text: str) -> set[str]:
    """Return the words that hold a digit, `1,000` as `1000`."""
    return {re.sub(r"(?<=\d),(?=\d{3})", "", word) for word in words(text) if any(map(str.isdigit, word))}


def negated(text: str) -> bool:
    """Return whether `text` denies something."""
    return any(word in _NEGATIONS or word.endswith(("n't", "n’t")) for word in words(text))


def share(some: Iterable[str], among: set[str]) -> float:
    """Return the share of `some` that is `among`; 0 when there are none."""
    kept = list(some)
    return sum(word in among for word in kept) / len(kept) if kept else 0.0


def _stem(word: str) -> str:
    word = re.sub(r"['’]s$", "", word)
    if any(map(str.isdigit, word)):
        return word.replace(",", "")
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    return word[:_STEM]
