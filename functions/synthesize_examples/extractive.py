"""Questions by rule, with no model: a pure function of a chunk's sentences, labelled `extractive` wherever shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from contracts.corpus import Text
from functions.synthesize_examples.core import Candidate, Place, not_alone
from functions.synthesize_examples.grammar import AUX, BOUND, NUMBER, TIME, VERBS, asked
from functions.synthesize_examples.rules import RULES, Pair, named_subject
from functions.synthesize_examples.sentences import Parts, Sentence, Vocabulary, sentences
from functions.synthesize_examples.tables import TableRow, Tables

VERSION = "extractive-2"
"""A change of any rule is a new version."""

_POINTS = re.compile(r"(?i)\b(?:following|below|above|as follows|here|see|do so|former|latter)\b|\bit$")


class Extractor:
    """The rules over one document."""

    def __init__(self, text: Text) -> None:
        self._vocabulary = Vocabulary(text.pages)
        self._parts = Parts(text.elements)
        self._tables = Tables(text.pages, text.elements)

    def candidates(self, place: Place) -> list[Candidate]:
        """Return the chunk's questions, the best kinds first, one of each sentence before the second of any."""
        pages = {page.number: page.text for page in place.pages}
        ranked: list[tuple[int, int, int, Candidate]] = []
        for span in place.chunk.spans:
            found = [self._row(row) for row in self._tables.inside(span)]
            for kind, part in self._parts.inside(span):
                if kind != "table":
                    found += [self._sentence(sentence, place) for sentence in sentences(pages[part.page], part)]
            for pairs in found:
                ranked += [(nth, rank, len(ranked), pair) for nth, (rank, pair) in enumerate(pairs)]
        return [candidate for *_, candidate in sorted(ranked, key=lambda item: item[:3])]

    def _row(self, row: TableRow) -> list[tuple[int, Candidate]]:
        pairs = self._tables.pairs(row)
        return [(0, Candidate(question, answer, row.text, row.span)) for question, answer in pairs]

    def _sentence(self, sentence: Sentence, place: Place) -> list[tuple[int, Candidate]]:
        found: dict[str, tuple[int, Candidate]] = {}
        for rank, rule in enumerate(RULES):
            for question, answer in rule(sentence.text, self._vocabulary):
                good = asked(question)
                if good is None or good in found or answer not in sentence.text or _POINTS.search(answer):
                    continue
                if not not_alone(good, place.chunk.text):
                    found[good] = rank, Candidate(good, answer, sentence.text, sentence.span)
        if not found:
            for question, answer in _rest(sentence.text, place, self._vocabulary):
                if not not_alone(question, place.chunk.text):
                    found[question] = len(RULES), Candidate(question, answer, sentence.text, sentence.span)
        return list(found.values())


def _name_of(place: Place) -> str:
    heading = re.sub(r"^[\d.\s)]+", "", place.chunk.heading.split(" › ")[-1]).strip(' "“”.:')
    return heading if 3 <= len(heading) <= 80 else PurePosixPath(place.path).name


_CLOZE_NUMBER = re.compile(rf"\b(?:(?:{BOUND}) )?{NUMBER}(?: (?:percent|per cent|{TIME}|[a-z]+s))?(?![\w.]*\d)")
_CLOZE_NAME = re.compile(r"(?<=[a-z,] )[A-Z][\w-]*(?:[ ][A-Z][\w-]*)*(?=[ ,;)]|\.(?!\w))")
_LEFT = re.compile(
    r"(?:\b(?:[Ss]ections?|[Cc]lause|[Aa]rticle|[Pp]age|[Ff]igure|[Tt]able|[Cc]hapter|[Ss]tep|[Pp]art|[Ii]tem|"
    r"[Aa]ppendix|[Nn]o\.|to|and|or|of|between|from|[A-Z][\w-]*)|[-–/(&\"“'.]) ?$"
)
_RIGHT = re.compile(r"-|–|/| (?:to|and|or|of|through|&|\d|[A-Z])|['’]|\"")
_VERB = re.compile(
    rf"\b(?:{AUX}|does|do|{'|'.join(VERBS)})\b|\w[^s\W]s (?:the|an?|all|any|to|in|on|with|for|by|from|\d)\b"
)
_FRAGMENT = re.compile(
    r"(?i)(?:it|they|he|she|this|these|those|that|such|however|there|and|but|or|also|then|instead|therefore|thus|"
    r"otherwise|with it|so|hence|let|in particular|notwithstanding|check|return|both|"
    r"here|you|we|i|your|our|see|please|note|add|fix|drop|update|improve|use|support|remove|change|rename|bump|restore|expose|allow|make|\w+ed)\b"
)
_NO_NAME = re.compile(r"(?:Section|Copyright|Exception|Notice|Note|License|Licence|Software|Work|Agreement|I)\b")


_FEW_WORDS = 8
_ABOUT = re.compile(rf"(.{{2,90}}?) (?:{AUX}) .+\.")


def _rest(text: str, place: Place, vocabulary: Vocabulary) -> Iterator[Pair]:
    """Ask about a sentence that no rule fits: for words left out, or else for all that it says of its subject."""
    if _FRAGMENT.match(text) or _POINTS.search(text):
        return
    found = False
    for pair in _cloze(text, place, vocabulary):
        found = True
        yield pair
    clause = None if found or len(text.split()) < _FEW_WORDS else _ABOUT.fullmatch(text)
    named = None if clause is None else named_subject(clause.group(1), vocabulary)
    good = None if named is None else asked(f'What does "{_name_of(place)}" say about {named}?')
    if good is not None:
        yield good, text


def _cloze(text: str, place: Place, vocabulary: Vocabulary) -> Iterator[Pair]:
    """Blank out the first number or the longest name that stands whole in a sentence that leans on none before it."""
    if not _VERB.search(text) or '"' in text:
        return
    known = f"{place.path} {place.chunk.heading}".casefold()
    spans = [found for found in _CLOZE_NUMBER.finditer(text) if found.start() > 0]
    spans += sorted(_CLOZE_NAME.finditer(text), key=lambda found: -len(found.group()))
    for found in spans:
        answer, before, after = found.group(), text[: found.start()], text[found.end() :]
        listed = before.endswith(", ") and after.startswith(",")
        told = answer.casefold() in known or text.casefold().count(answer.casefold()) > 1 or vocabulary.is_topic(answer)
        mid_phrase = _NO_NAME.match(answer) or _LEFT.search(before) or _RIGHT.match(after)
        if len(answer) > 1 and not (listed or told or mid_phrase):
            yield f'According to "{_name_of(place)}", which words fill the blank: "{before}____{after}"?', answer
            return
