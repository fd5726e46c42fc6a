"""Sentences of a chunk that can stand alone, each with its place in the page's text."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contracts.corpus import Element, Page, Span, plain_text

_BREAK = re.compile(
    r"\n[ \t]*\n"  # a blank line
    r"|\n(?=[ \t]*(?:[-*•‣–]|\(?[a-z][.)]|\(?\d{1,3}[.)])[ \t])"  # the next item of a list
    r"|(?<=[.!?])[\"”’)\]]*\s+"
    r"(?!(?:Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember) (?!\d\d?,))"
    r"(?=[\"“„(\[]?[A-ZÄÖÜ0-9])"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:Dr|Mr|Mrs|Ms|Prof|St|e\.g|i\.e|etc|vs|cf|No|Nos|Fig|Sec|Art|Inc|Ltd|Co|Corp|Jr|Sr|approx|[A-Z]|"
    r"z\. ?B|d\. ?h|u\. ?a|o\. ?ä|bzw|ca|Nr|usw|evtl|ggf|inkl|vgl|Abs|Bsp|Kap|sog|max|min))\.$"
)
_BULLET = re.compile(r"\s*(?:[-*•‣–]|\(?[a-z][.)]|\(?\d{1,3}(?:\.\d{1,3})*[.)]|\d+(?:\.\d+)+)\s+|\s+")
_WHOLE = re.compile(r"[\"“„]?[A-ZÄÖÜ0-9].*[.!][\"”“)]?")
_CODE = re.compile(
    r"https?://|www\.|[{}<>=\\|^~]|\*\*|##|\]\(|::|\(\)|__|--|\.\.|\$\w|\w- \w|\u00ad|[^\w\s]{4}|\?"
    r"|#\d|@\w|[a-z]{3}[.!] [a-z]|[©¶•·]|(?<!m)[⁰¹²³⁴-⁹]|\(c\)|Copyright \W*\d"
)
_WORDS = range(5, 56)
_CHARACTERS = 360
_CAPITALS = 0.4  # a sentence with more is shouted, a heading, or made of abbreviations


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, white space plain, and where it stands."""

    text: str
    span: Span


_COMMON = (
    *("s", "ing", "tion", "ment", "ity", "ance", "ence", "al", "ed", "ic", "ive", "ous", "able", "ible", "ary"),
    *("ful", "less", "ent", "ant", "ness", "ost"),
)
"""Endings of words that are seldom names."""
_DEFINITE = re.compile(r"\b(?:[Tt]he|[Dd](?:er|ie|as|en|em|es)) ([^\W\d_][\w-]+)")
_WORDS_FOR_EACH = 4000
"""A theme is named once in so many words; in a short document everything is one."""


class Vocabulary:
    """How a document writes its words: which begin small, which are names."""

    def __init__(self, pages: Sequence[Page]) -> None:
        self._small: Counter[str] = Counter()
        self._names: Counter[str] = Counter()
        self._definite: Counter[str] = Counter()
        self._words = 0
        for page in pages:
            self._words += page.text.count(" ")
            self._definite.update(_DEFINITE.findall(page.text))
            self._small.update(re.findall(r"\b[a-zäöü][\w-]+", page.text))
            self._names.update(re.findall(r"(?<=[a-zäöüß,] )[A-ZÄÖÜ][\w-]+", page.text))

    def is_name(self, word: str) -> bool:
        """Return whether `word`, which begins a sentence, keeps its capital inside one; a guess if seen once."""
        small = word[:1].lower() + word[1:]
        if any(map(str.isupper, word[1:])) or any(map(str.isdigit, word)):
            return True
        if word in self._names:
            return self._names[word] > self._small[small]
        return small not in self._small and not word.endswith(_COMMON)

    def is_small(self, word: str) -> bool:
        """Return whether `word`, which begins a sentence, is written small inside one more often than not."""
        small = word[:1].lower() + word[1:]
        return self._small[small] > self._names[word]

    def is_theme(self, noun: str) -> bool:
        """Return whether a document speaks of `the noun` so often that its reader knows which one is meant."""
        return self._definite[noun] * _WORDS_FOR_EACH >= self._words


class Parts:
    """What kind of text lies where."""

    def __init__(self, elements: Sequence[Element]) -> None:
        self._elements: dict[int, list[Element]] = {}
        for element in sorted(elements, key=lambda element: (element.span.page, element.span.start)):
            self._elements.setdefault(element.span.page, []).append(element)
        self._starts = {page: [one.span.start for one in found] for page, found in self._elements.items()}

    def inside(self, span: Span) -> Iterator[tuple[str, Span]]:
        """Yield (kind, span) of what lies in `span`, headings left out; text where nothing is known."""
        known = self._elements.get(span.page, [])
        starts = self._starts.get(span.page, [])
        first = max(0, bisect_right(starts, span.start) - 1)
        found = [one for one in known[first : bisect_left(starts, span.end)] if one.span.end > span.start]
        if not found:
            yield "text", span
        for one in found:
            if one.kind != "title":
                start, end = max(span.start, one.span.start), min(span.end, one.span.end)
                yield one.kind, Span(page=span.page, start=start, end=end)


def sentences(page: str, span: Span) -> Iterator[Sentence]:
    """Yield the whole sentences in `span` of a page's text."""
    start = span.start
    ends = list(_BREAK.finditer(page, span.start, span.end))
    for end, following in [*((found.start(), found.end()) for found in ends), (span.end, span.end)]:
        piece = page[start:end]
        if following < span.end and page[end:following].strip() == "" and _ABBREVIATION.search(piece.rstrip()):
            continue
        closing = page[end:following].rstrip()
        yield from _sentence(page, Span(page=span.page, start=start, end=end + len(closing)))
        start = following


def _sentence(page: str, span: Span) -> Iterator[Sentence]:
    bullet = _BULLET.match(page, span.start, span.end)
    start = bullet.end() if bullet is not None else span.start
    end = start + len(page[start : span.end].rstrip())
    text = plain_text(page[start:end])
    if _stands_alone(text):
        yield Sentence(text, Span(page=span.page, start=start, end=end))


def _stands_alone(text: str) -> bool:
    if len(text) > _CHARACTERS or len(text.split()) not in _WORDS or not _WHOLE.fullmatch(text) or _CODE.search(text):
        return False
    letters = [letter for letter in text if letter.isalpha()]
    if sum(map(str.isupper, letters)) > _CAPITALS * len(letters) or any(letter >= "\u0370" for letter in letters):
        return False  # no rules know its letters
    even = text.count('"') % 2 == 0 and text.count("`") % 2 == 0
    return even and text.count("(") == text.count(")") and _balanced(text)


def _balanced(text: str) -> bool:
    low = text.count("„")  # German quotes end where English ones begin
    return text.count("“") == (low if low else text.count("”"))
