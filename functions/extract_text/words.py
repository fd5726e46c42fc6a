"""Words that are broken by a hyphen at a line's end: which keep it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from functions.extract_text.lines import Line

_BROKEN = re.compile(r"(?:.*[^\w'’-])?((?:[\w'’]+[-\u2010])*[\w'’]*\w)[-\u2010]", re.S)
_NEXT = re.compile(r"\w[\w'’]*")
_WORD = re.compile(r"[^\W_]+(?:[-\u2010'’][^\W_]+)*")
_LINKS = frozenset({"und", "oder", "bzw", "bis", "and", "or", "to", "et", "ou", "y", "o", "e", "ed", "en"})
"""What stands behind a part of a compound that is said in full later: `Ein- und Ausgabe`."""
_ENGLISH = frozenset({"the", "and", "of", "to", "is", "in", "that", "for", "are"})
_ENGLISH_SHARE = 0.12
_SHORT = 3
"""Letters of a part that may be a prefix or a syllable whatever words there are."""


@cache
def _english() -> bytes:
    """Return unstructured's list of English words, a line each, without a wait for its package to be imported."""
    found = find_spec("unstructured")
    places = (found and found.submodule_search_locations) or ()
    return b"\n" + b"".join((Path(place) / "nlp" / "english-words.txt").read_bytes() for place in places)


class Words:
    """The words of a document, counted when they are first asked for."""

    def __init__(self, lines: Callable[[], Iterable[Line]]) -> None:
        self._lines = lines
        self._counts: Counter[str] | None = None

    @property
    def counts(self) -> Counter[str]:
        """How often each word stands in the document, in small letters."""
        if self._counts is None:
            self._counts = Counter()
            for line in self._lines():
                self._counts.update(_WORD.findall(line.text.lower().replace("\u2010", "-")))
        return self._counts

    def joined(self, upper: str, lower: str) -> str:
        """Return two lines as one."""
        end = self.end(upper, lower)
        return f"{upper} {lower}" if end is None else upper[:-1] + end + lower

    def end(self, upper: str, lower: str) -> str | None:
        """Return what stands in place of a hyphen at the end of `upper`; None: it is no word's that goes on below."""
        if upper[-1:] not in "-\u2010":
            return None
        first, second = _BROKEN.fullmatch(upper[-80:]), _NEXT.match(lower)
        if first is None or second is None or second[0].lower() in _LINKS:
            return None
        return "-" if self._is_kept(first[1], second[0]) else ""

    def _is_kept(self, first: str, second: str) -> bool:
        if not first[-1].isalpha() or not second[0].isalpha():
            return True
        last = re.split("[-\u2010]", first)[-1]
        joined, hyphened = (last + second).lower(), f"{last}-{second}".lower()
        seen, kept = self.counts[joined], self.counts[hyphened]
        if seen or kept:
            return kept > seen
        if second[0].isupper():
            return not (len(last) > 1 and last.isupper())
        if last[-1].isupper():
            return True
        return self._is_compound(last.lower(), second.lower(), joined)

    def _is_compound(self, first: str, second: str, joined: str) -> bool:
        """Return whether two English words make one with a hyphen: both are words, and together they are none."""
        if min(len(first), len(second)) <= _SHORT or not self._is_english():
            return False
        known = _english()
        return (
            all(f"\n{word}\n".encode() in known for word in (first, second)) and f"\n{joined}\n".encode() not in known
        )

    def _is_english(self) -> bool:
        counts = self.counts
        return sum(counts[word] for word in _ENGLISH) > _ENGLISH_SHARE * counts.total()
