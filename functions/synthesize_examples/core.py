"""Which questions are kept: the quote stands at its span, says the answer, and the question can be read alone."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from contracts.corpus import Chunk, Chunks, Example, Page, PlannedChunk, Span, Split, find_quote, text_at
from contracts.corpus import plain_text as plain
from contracts.envelope import derived_id
from contracts.events.corpus import Generator
from functions.synthesize_examples.words import content, negated, numbers, share, words

MIN_QUOTE_WORDS = 3
SUPPORTED_BY_QUOTE, SUPPORTED_BY_CHUNK = 0.4, 0.7
"""Shares of the answer's content words; an answer may be worded anew, but not of other things."""
KNOWN = 0.8
"""Share of the answer's content words from which on an answer without context counts as right."""
_QUESTION_LENGTH = range(8, 501)
_MAX_ANSWER = 2000
_SHINGLE = 5
"""Words; fewer in a row stand in two places by chance."""

_UNNAMED = re.compile(
    r"\b(?:(?:in|from|by|to|of|do|does|did) (?:the|that) (?:(?:provided|given|above) )?(?:text|passage|excerpt|"
    r"paragraph|context|document|section|page|chapter|article|table|figure|list|sentence|quote|snippet|chunk)\b"
    r"(?! (?:of|on|about|titled|called|named)\b| (?-i:[A-Z\"“]))"
    r"|(?:this|these|those) [a-z]"
    r"|(?:mentioned|described|listed|given|shown|discussed|stated|provided) (?:above|below|here|earlier)"
    r"|the (?:above|below|following|former|latter|aforementioned)\b"
    r"|(?:do|does|did|is|are|was|were|can|could|may|must|should|will|would|has|have|had) "
    r"(?:it|they|he|she|this|these|those|them|such)\b"
    r"|^(?:it|they|he|she) "
    r"|\b(?:in|aus|laut|von) (?:dem|diesem|der|dieser|obigem|obiger) (?:text|abschnitt|dokument|kapitel|absatz|"
    r"tabelle|abbildung|"
    r"seite|passage)\b(?! (?:zu|über|„))|\b(?:oben|unten|zuvor) (?:genannt|beschrieben|erwähnt|aufgeführt)\w*"
    r"|\b(?:diese[rsnm]?|jene[rsnm]?) (?-i:[A-ZÄÖÜ])(?!izenz|ertrag|rdnung|ichtlinie))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A question that somebody proposes."""

    question: str
    answer: str
    quote: str
    span: Span | None = None
    """Where the quote stands, if who proposes it knows."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who proposed it."""

    generator: Generator
    prompt: str
    model: str = ""
    reply: str = ""
    """Key of the recorded reply."""


class Side:
    """The text of one side of the split, of one document; asking costs the same however long it is."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        spans: list[Span] = []
        self._shingles: set[str] = set()
        for chunk in chunks:
            spans += chunk.spans
            self._shingles.update(_shingles(chunk.text))
        self._starts: dict[int, list[int]] = {}
        self._ends: dict[int, list[int]] = {}
        for span in sorted(spans, key=lambda span: (span.page, span.start)):
            starts, ends = self._starts.setdefault(span.page, []), self._ends.setdefault(span.page, [])
            if ends and span.start <= ends[-1]:
                ends[-1] = max(ends[-1], span.end)
            else:
                starts.append(span.start)
                ends.append(span.end)

    def has(self, quote: str, span: Span) -> bool:
        """Return whether any of the words at `span`, or the same words elsewhere, are on this side."""
        before = bisect_left(self._starts.get(span.page, ()), span.end) - 1
        if before >= 0 and self._ends[span.page][before] > span.start:
            return True
        found = _shingles(quote)
        return bool(found) and found <= self._shingles


@dataclass(frozen=True, slots=True)
class Place:
    """A chunk that questions are asked about."""

    chunk: Chunk
    planned: PlannedChunk
    path: str
    pages: tuple[Page, ...]
    """Those that the chunk's spans are on."""

    @property
    def within(self) -> tuple[Span, ...]:
        """Spans in which a quote may stand: the chunk's own, and neighbours with white space alone between them."""
        return (*self.chunk.spans, *_joined(self.pages, self.chunk.spans))


def places(planned_chunks: Iterable[PlannedChunk], chunks: Chunks, pages: Sequence[Page]) -> list[Place]:
    """Return the chunks of one document of which rows are asked, in its order."""
    planned = {item.chunk: item for item in planned_chunks if item.rows > 0}
    by_number = {page.number: page for page in pages}
    found = []
    for chunk in sorted(chunks.chunks, key=lambda chunk: chunk.index):
        if chunk.id in planned:
            numbers_ = sorted({span.page for span in chunk.spans})
            found.append(Place(chunk, planned[chunk.id], chunks.path, tuple(by_number[number] for number in numbers_)))
    return found


class ExampleSelection:
    """Examines the candidates of one document in order; what it keeps is compared with what comes after."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._asked: set[str] = set()
        sides: dict[Split, list[Chunk]] = {"train": [], "held_out": []}
        for place in places:
            sides[place.planned.split].append(place.chunk)
        self._other: dict[Split, Side] = {"train": Side(sides["held_out"]), "held_out": Side(sides["train"])}

    def choose(self, place: Place, candidates: Iterable[Candidate], origin: Origin) -> list[Example]:
        """Return an example for each candidate until as many are kept as the plan asks for, rejected ones with why."""
        examples: dict[str, Example] = {}
        kept = 0
        for candidate in candidates:
            example = self.examine(place, candidate, origin)
            if example.id in examples:
                continue
            examples[example.id] = example
            kept += example.code is None
            if kept == place.planned.rows:
                break
        return list(examples.values())

    def examine(self, place: Place, candidate: Candidate, origin: Origin) -> Example:
        """Return the example with its scores and, where it is rejected, code and message."""
        span = _located(place, candidate)
        scores: dict[str, float] = {}
        if span is None:
            code, message = "quote_not_found", "The quote does not stand in the chunk word for word."
        else:
            scores["support"] = round(_support(candidate.answer, candidate.quote), 3)
            code, message = self._fault(place, candidate, span)
        if not code:
            self._asked.add(normalised(candidate.question))
        return Example(
            id=f"row-{derived_id(place.chunk.id, candidate.question, candidate.answer).replace('-', '')}",
            document=place.chunk.document,
            chunk=place.chunk.id,
            split=place.planned.split,
            question=candidate.question,
            answer=candidate.answer,
            quote=plain(candidate.quote),
            span=span or place.chunk.spans[0],
            generator=origin.generator,
            model=origin.model,
            prompt=origin.prompt,
            reply=origin.reply,
            scores=scores,
            code=code or None,
            message=message or None,
        )

    def _fault(self, place: Place, candidate: Candidate, span: Span) -> tuple[str, str]:
        alone = not_alone(candidate.question, f"{place.path} {place.chunk.heading} {place.chunk.text}")
        if alone:
            return "not_self_contained", alone
        unfaithful = _unfaithful(place, candidate)
        if unfaithful:
            return "unfaithful", unfaithful
        if f" {normalised(candidate.answer)} " in f" {normalised(candidate.question)} ":
            return "answerable_without_context", "The question says the answer."
        if normalised(candidate.question) in self._asked:
            return "duplicate", "The same question is asked elsewhere in the document."
        if self._other[place.planned.split].has(candidate.quote, span):
            side = "held out" if place.planned.split == "train" else "trained on"
            return "leaks_held_out", f"The quote also stands in a chunk that is {side}."
        return "", ""


def closed_book(example: Example, said: str) -> Example:
    """Return `example` with the score of what a model said without any context; rejected when it knew the answer."""
    wanted = content(example.answer)
    score = share(wanted, content(said)) if numbers(example.answer) <= numbers(said) else 0.0
    scored = example.model_copy(update={"scores": {**example.scores, "closed_book": round(score, 3)}})
    if score < KNOWN:
        return scored
    message = "The base model answers it without the context."
    return scored.model_copy(update={"code": "answerable_without_context", "message": message})


def normalised(text: str) -> str:
    """Return the words of `text`, folded, without articles and punctuation."""
    blank = text.replace("____", " blank ")
    return " ".join(word for word in words(blank) if word not in ("a", "an", "the"))


def not_alone(question: str, passage: str) -> str:
    """Return why `question` cannot be understood by who has not seen `passage`, or an empty string."""
    if len(question) not in _QUESTION_LENGTH:
        return f"The question has {len(question)} characters; 8 to 500 are readable."
    unnamed = _UNNAMED.search(question)
    if unnamed is not None:
        return f"The question says {unnamed.group()[:60]!r} of something that it does not name."
    if not content(question) & content(passage):
        return "The question names nothing that the chunk is about."
    return ""


def _support(answer: str, text: str) -> float:
    return share(content(answer), content(text))


def _unfaithful(place: Place, candidate: Candidate) -> str:
    passage = f"{place.chunk.heading} {place.chunk.text}"
    if not content(candidate.answer) or len(candidate.answer) > _MAX_ANSWER:
        return "The answer says nothing that can be checked, or too much."
    strange = (numbers(candidate.answer) | numbers(candidate.question)) - numbers(f"{place.path} {passage}")
    if strange:
        return "A number in the question or the answer is not in the chunk."
    if negated(candidate.answer) and not negated(candidate.quote):
        return "The answer denies what the quote does not deny."
    if _support(candidate.answer, candidate.quote) < SUPPORTED_BY_QUOTE:
        return "The quote does not say the answer."
    if _support(candidate.answer, passage) < SUPPORTED_BY_CHUNK:
        return "The answer says more than the chunk does."
    return ""


def _located(place: Place, candidate: Candidate) -> Span | None:
    if len(words(candidate.quote)) < MIN_QUOTE_WORDS:
        return None
    span = candidate.span
    if span is None:
        return find_quote(place.pages, place.within, candidate.quote)
    return span if text_at(place.pages, [span]) == plain(candidate.quote) else None


def _joined(pages: Sequence[Page], spans: Sequence[Span]) -> list[Span]:
    """Return runs of two and more spans of a page with white space alone between them, as one span each."""
    by_number = {page.number: page.text for page in pages}
    joined: list[Span] = []
    run = 0
    for before, after in pairwise(spans):
        between = by_number[after.page][before.end : after.start]
        touching = before.page == after.page and before.end <= after.start and not between.strip()
        if touching and run:
            joined[-1] = joined[-1].model_copy(update={"end": after.end})
        elif touching:
            joined.append(before.model_copy(update={"end": after.end}))
        run = run + 1 if touching else 0
    return joined


def _shingles(text: str) -> set[str]:
    found = words(text)
    return {" ".join(found[start : start + _SHINGLE]) for start in range(len(found) - _SHINGLE + 1)}
