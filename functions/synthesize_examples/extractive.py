"""Questions by rule, with no model: a pure function of a chunk's sentences, labelled `extractive` wherever shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from contracts.corpus import Span, Text, plain_text
from functions.synthesize_examples.core import Candidate, Place, not_alone
from functions.synthesize_examples.language import Language, Pair
from functions.synthesize_examples.sentences import Parts, Sentence, Vocabulary, sentences
from functions.synthesize_examples.tables import TableRow, Tables
from functions.synthesize_examples.words import content

VERSION = "extractive-4"
"""A change of any rule is a new version."""

_FIRST = -1
"""Rank of an answer under a heading that asks: the author's own question."""
_NUMBERED = re.compile(r"^(?:[\d.]+\d[.)]?|\(?[a-z\d][.)]|[QF]:)\s+")
_LONGEST_ANSWER = 360
_LEFT_OUT = 3
"""Words of content that neither question nor answer may leave out: more is another statement."""
_LEAST = 2
"""Words of content in a question; one that names less is vague."""

Ranked = tuple[int, Candidate]


class Extractor:
    """The rules of one language over one document."""

    def __init__(self, text: Text, language: Language) -> None:
        self._language = language
        self._vocabulary = Vocabulary(text.pages)
        self._parts = Parts(text.elements)
        self._tables = Tables(text.pages, text.elements)

    def candidates(self, place: Place) -> list[Candidate]:
        """Return the chunk's questions, the best kinds first, one of each sentence before the second of any."""
        pages = {page.number: page.text for page in place.pages}
        ranked: list[tuple[int, int, int, Candidate]] = []
        found = [list(self._under_question(place, pages))]
        for span in place.chunk.spans:
            found += [self._row(row) for row in self._tables.inside(span)]
            for kind, part in self._parts.inside(span):
                if kind != "table":
                    found += [self._sentence(sentence, place) for sentence in sentences(pages[part.page], part)]
        for pairs in found:
            ranked += [(nth, rank, len(ranked) + at, pair) for at, (nth, (rank, pair)) in enumerate(enumerate(pairs))]
        return [candidate for *_, candidate in sorted(ranked, key=lambda item: item[:3])]

    def _row(self, row: TableRow) -> list[Ranked]:
        pairs = self._tables.pairs(row, self._language.cell)
        return [(0, Candidate(question, answer, row.text, row.span)) for question, answer in pairs]

    def _under_question(self, place: Place, pages: dict[int, str]) -> Iterator[Ranked]:
        """Yield the heading of the chunk as a question where it is one, answered by what stands below it at once."""
        heading = place.chunk.heading.rsplit(" › ", 1)[-1]
        question = self._language.asked(_NUMBERED.sub("", heading))
        begins = plain_text(place.chunk.text).startswith(plain_text(heading))
        if question is None or not begins or not self._language.begins.fullmatch(question):
            return
        parts = [(kind, part) for span in place.chunk.spans for kind, part in self._parts.inside(span)]
        if not parts or parts[0][0] == "table" or not_alone(question, place.chunk.text):
            return
        part = parts[0][1]
        page = pages[part.page]
        whole = plain_text(page[part.start : part.end])
        if self._language.evades.match(whole):
            return
        if len(whole) <= _LONGEST_ANSWER and whole.endswith((".", "!")) and "?" not in whole:
            start = part.start + len(page[part.start : part.end]) - len(page[part.start : part.end].lstrip())
            span = Span(page=part.page, start=start, end=start + len(page[part.start : part.end].strip()))
            yield _FIRST, Candidate(question, whole, whole, span)
            return
        first = next(sentences(page, part), None)
        if first is not None and not page[part.start : first.span.start].strip():
            yield _FIRST, Candidate(question, first.text, first.text, first.span)

    def _sentence(self, sentence: Sentence, place: Place) -> list[Ranked]:
        found: dict[str, Ranked] = {}
        opened = self._language.opening.match(sentence.text)
        rest = sentence.text[opened.end() :] if opened is not None else sentence.text
        said = rest[:1].upper() + rest[1:]
        for rank, rule in enumerate(self._language.rules):
            for question, answer in rule(said, self._vocabulary):
                good = self._language.asked(question)
                answer = rest if answer == said else answer
                if good is None or good in found or answer not in sentence.text or self._language.points.search(answer):
                    continue
                if len(content(good)) < _LEAST and not answer.startswith(("a ", "an ", "the ", "ein")):
                    continue
                if not not_alone(good, place.chunk.text):
                    whole = self._whole((good, answer), rest)
                    found[good] = rank, Candidate(good, whole, sentence.text, sentence.span)
        return list(found.values())

    def _whole(self, pair: Pair, sentence: str) -> str:
        """Return the answer, or all of the sentence where question and answer leave out what makes it narrower."""
        said = " ".join(pair)
        narrows = self._language.narrowing.findall
        lost = Counter(map(str.lower, narrows(sentence))) - Counter(map(str.lower, narrows(said)))
        more = content(sentence) - content(said)
        return sentence if lost or len(more) > _LEFT_OUT else pair[1]
