"""What may be shown to a learner: passages, the examples that survive, and whether they make a data set."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from contracts.asking import REFUSAL, asked
from contracts.blobs import BlobRef
from contracts.corpus import Chunk, Chunks, CorpusPlan, Example, Span, Split, plain_text
from contracts.documents.facts import View
from contracts.events.corpus import Bounds
from contracts.wire.dataset_answers import LeftOutMember

SPLITS: tuple[Split, ...] = ("train", "held_out")
PURPOSE = "fine-tune"

# The form of a row. The demo base was pretrained on exactly these words, so that even one million parameters can
# learn from a few hundred rows; a large model does not mind.
BRIEF_SYSTEM = "Answer briefly from the context."
QUOTE_SYSTEM = "Answer with the sentence from the context."
"""Instead of BRIEF_SYSTEM where the answer is the quote itself."""
PASSAGE_TOKENS = 4
"""What the number and the line end of a passage are taken to cost."""

_WORD = re.compile(r"\w+")


class RowSettings(BaseModel):
    """How a data set is put together; recorded with the first attempt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variants: int = Field(default=2, ge=1, le=16)
    """Rows of each training example: other distractors, another order. A held-out example has one row."""
    hard: int = Field(default=2, ge=0, le=32)
    """Distractors that are found for the question, by BM25 and by `embedding_model`."""
    random: int = Field(default=1, ge=0, le=32)
    """Distractors from anywhere in the split; they also stand in for hard ones that cannot be found."""
    context_tokens: int = Field(default=1024, ge=16)
    """The most that a row's passages may have in the target model's tokens; question and answer come on top."""
    embedding_model: str = Field(default="", max_length=256)
    """The model by whose vectors hard distractors are found, too, and all are kept from answering; empty: none."""
    headings: int = Field(default=9, ge=0, le=9)
    """Headings above a passage that are shown with it, the nearest; no chunk is under more than 9."""
    absent_share: float = Field(default=0.1, ge=0, le=0.5)
    """Share of the rows about documents whose passages do not hold the answer."""
    min_coverage: float = Field(default=0.5, ge=0, le=1)
    """Share of the training chunks that should have a row."""
    coverage_required: bool = False
    """Whether there is no data set below `min_coverage`, as somebody asked for it; else it comes with a warning."""
    min_rows: int = Field(default=10, ge=1)
    general: BlobRef | None = None
    """Canonical chat rows of any subject, mixed into training against forgetting."""
    general_share: float = Field(default=0.1, ge=0, le=0.9)
    """Share of the training rows that are general ones, where there are any."""
    min_score: Bounds = Field(default_factory=dict)
    max_score: Bounds = Field(default_factory=dict)
    """Examples below or above these are dropped; one without the score stays, as unknown is not 0."""


SETTLED = frozenset(RowSettings.model_fields) - {
    "min_coverage",
    "coverage_required",
    "min_rows",
    "general",
    "min_score",
    "max_score",
}
"""What a re-curation takes over from its source, so that nothing but the scores makes a difference."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A planned chunk, ready to be shown."""

    chunk: Chunk
    path: str
    sha256: str
    """Of the document's bytes."""
    split: Split
    asked: int
    """Examples asked of it."""
    shown: str
    """One line: its headings and its text, without the heading that it begins with."""
    words: str
    """`normal` of what is shown, a space at either end."""
    tokens: int
    """What it costs in a context."""
    leaks: bool
    """Whether it is for training and shares text with a held-out chunk."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The examples that become rows, sorted by id, and why others do not."""

    kept: tuple[Example, ...]
    dropped: Mapping[Split, Counter[str]]
    """Reason → examples."""
    rivals: Mapping[str, frozenset[str]]
    """Normal question → the chunks that it was asked of, where there are several: each answers it in its own way."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no data set."""

    code: str
    message: str
    coverage: float | None = None


def reason(refused: Mapping[str, Any]) -> LeftOutMember:
    """Return why a member was skipped or a document rejected, for the report."""
    return {"path": refused["path"], "code": refused["code"], "message": refused["message"]}


def normal(text: str) -> str:
    """Return the words of `text` in lower case, one space between them: what two wordings are compared by."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def needle(text: str) -> str:
    """Return what to look for in a passage's `words`; only ASCII is cut at words, as not all scripts have spaces."""
    words = normal(text)
    return f" {words} " if words.isascii() else words


def draw(*key: str | int) -> int:
    """Return 64 bits that depend on `key` alone: chance that is the same on every machine and in every order."""
    return int.from_bytes(hashlib.sha256("\n".join(map(str, key)).encode()).digest()[:8], "big")


def passages(plan: CorpusPlan, documents: Iterable[Chunks], headings: int = 9) -> list[Passage]:
    """Return the planned chunks sorted by path, document and place, so that neighbours are likely confounders.

    Each is shown with the nearest of its headings, at most `headings`.
    Raises ValueError when the plan names a chunk that no document has.
    """
    planned = {chunk.chunk: chunk for chunk in plan.chunks}
    found = []
    for document in sorted(documents, key=lambda document: (document.path, document.document)):
        chunks = sorted((chunk for chunk in document.chunks if chunk.id in planned), key=lambda chunk: chunk.index)
        secret = _Extents(span for chunk in chunks if planned[chunk.id].split == "held_out" for span in chunk.spans)
        for chunk in chunks:
            plans = planned.pop(chunk.id)
            shown = _shown(chunk, headings)
            found.append(
                Passage(
                    chunk=chunk,
                    path=document.path,
                    sha256=document.sha256,
                    split=plans.split,
                    asked=plans.rows,
                    shown=shown,
                    words=f" {normal(shown)} ",
                    tokens=_cost(chunk, shown),
                    leaks=plans.split == "train" and any(map(secret.touches, chunk.spans)),
                )
            )
    if planned:
        raise ValueError(f"the plan names {len(planned)} chunks that no document has, such as {min(planned)}")
    return found


class _Extents:
    """Spans that may overlap one another, asked whether another one touches any."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._ends: dict[int, list[int]] = defaultdict(list)
        self._starts: dict[int, list[int]] = defaultdict(list)
        for span in sorted(spans, key=lambda span: (span.page, span.start)):
            starts, ends = self._starts[span.page], self._ends[span.page]
            if ends and span.start <= ends[-1]:
                ends[-1] = max(ends[-1], span.end)
            else:
                starts.append(span.start)
                ends.append(span.end)

    def touches(self, span: Span) -> bool:
        """Return whether `span` has a character in common with one of them."""
        ends = self._ends.get(span.page, [])
        at = bisect_left(ends, span.start + 1)
        return at < len(ends) and self._starts[span.page][at] < span.end


def _shown(chunk: Chunk, headings: int) -> str:
    first, _, rest = chunk.text.partition("\n")
    text, path = plain_text(chunk.text), plain_text(chunk.heading).split(" › ")
    if rest and first == path[-1]:
        text = plain_text(rest)  # a heading is no part of the sentence behind it
    elif text.startswith(path[-1]):
        return text
    heading = " › ".join(path[max(0, len(path) - headings) :])
    return f"{heading}: {text}" if heading else text


def _cost(chunk: Chunk, shown: str) -> int:
    # The heading is not among the chunk's counted tokens; it is taken to have as many per character.
    return ceil(chunk.tokens * max(1.0, len(shown) / max(len(chunk.text), 1))) + PASSAGE_TOKENS


def select(examples: Iterable[Example], by_chunk: Mapping[str, Passage], settings: RowSettings) -> Selection:
    """Return the examples that may become rows; which of two that ask the same stays does not depend on their order.

    A held-out example goes before a training one that asks the same: the benchmark must not be trained on. That, and
    which chunks answer a question, does not depend on scores: a benchmark stays one when its source is re-curated.
    """
    dropped: dict[Split, Counter[str]] = {split: Counter() for split in SPLITS}
    sound, asked, held_out = [], defaultdict(set), set()
    for example in examples:
        code = example.code or _unsound(example, by_chunk.get(example.chunk), settings.context_tokens)
        if code is None:
            question = normal(example.question)
            asked[question].add(example.chunk)
            if example.split == "held_out":
                held_out.add(question)
            code = out_of_bounds(example, settings)
        if code is not None:
            dropped[example.split][code] += 1
        else:
            sound.append(example)
    kept: dict[str, Example] = {}
    for example in sorted(sound, key=lambda example: example.id):
        question = normal(example.question)
        if example.split == "train" and question in held_out:
            dropped["train"]["leaks_held_out"] += 1
        elif kept.setdefault(question, example) is not example:
            dropped[example.split]["duplicate"] += 1
    rivals = {question: frozenset(chunks) for question, chunks in asked.items() if len(chunks) > 1}
    return Selection(tuple(sorted(kept.values(), key=lambda example: example.id)), dropped, rivals)


def out_of_bounds(example: Example, settings: RowSettings) -> str | None:
    """Return why an example is dropped for one of its scores, or None; a score that it does not have is no reason."""
    scores: Mapping[str, float] = example.scores
    if any(name in scores and scores[name] < least for name, least in settings.min_score.items()):
        return "below_min_score"
    if any(name in scores and scores[name] > most for name, most in settings.max_score.items()):
        return "above_max_score"
    return None


def _unsound(example: Example, passage: Passage | None, context_tokens: int) -> str | None:
    """Return why no row can be made of an example that was found good, or None."""
    if passage is None or passage.split != example.split or passage.chunk.document != example.document:
        return "unplanned"
    if passage.leaks:
        return "leaks_held_out"
    inside = any(
        span.page == example.span.page and span.start <= example.span.start and example.span.end <= span.end
        for span in passage.chunk.spans
    )
    if not inside or plain_text(example.quote) not in plain_text(passage.chunk.text):
        return "quote_not_found"
    if not (normal(example.question) and normal(example.answer) and normal(example.quote)):
        return "no_words"
    return "too_long" if passage.tokens > context_tokens else None


def messages(example: Example, shown: Sequence[Passage], absent: bool) -> list[dict[str, str]]:
    """Return the chat of a row: a system message, the passages with the question, the answer or the refusal."""
    quoted = normal(example.answer) == normal(example.quote)
    return [
        {"role": "system", "content": QUOTE_SYSTEM if quoted else BRIEF_SYSTEM},
        {"role": "user", "content": asked([passage.shown for passage in shown], plain_text(example.question))},
        {"role": "assistant", "content": REFUSAL if absent else example.answer.strip()},
    ]


def refusal(
    rows: int, covered: int, chunks: int, examples: int, dropped: Mapping[str, int], settings: RowSettings
) -> Refusal | None:
    """Return why what was found is no data set, or None; all counts are of training alone.

    `rows` are those about the documents, `covered` of `chunks` have one, `dropped` counts lost examples by reason.
    """
    share = covered / chunks if chunks else 0.0
    bounded = bool(settings.min_score or settings.max_score)
    lost = ", ".join(f"{count} {code}" for code, count in sorted(dropped.items())) or "none were made"
    if not examples:
        what = f"No example for training is left: of those made, {lost}."
        advice = _LESS if bounded else "Upload documents with more running text, or name a generator."
        return Refusal("no_examples", f"{what} {advice}", share)
    if share < settings.min_coverage and settings.coverage_required:
        what = f"{little(covered, chunks, settings)} needed)"
        return Refusal("coverage_too_low", f"{what}; examples lost: {lost}. {_LESS if bounded else _ADVICE}", share)
    if rows < settings.min_rows:
        what = f"The documents give {rows} training rows; {settings.min_rows} are needed; examples lost: {lost}."
        return Refusal("too_few_rows", f"{what} {_LESS if bounded else 'Upload more text.'}", share)
    return None


def little(covered: int, chunks: int, settings: RowSettings) -> str:
    """Return the beginning of the sentence that says that coverage is low."""
    share = covered / chunks if chunks else 0.0
    return f"Only {covered} of {chunks} training chunks have a row ({share:.0%}; {settings.min_coverage:.0%}"


_ADVICE = "Name a better generator, upload documents with more running text, or lower the setting min_coverage."
_LESS = "Ask for a lower min_score or a higher max_score."
"""Instead, where scores were asked for."""


def unfit(archive: View, source: View | None, late: bool) -> Refusal | None:
    """Return why `archive` cannot be re-curated of `source`, or None: it can, or may be able to later.

    `late` says that nobody waits any longer for a source of which nothing is known.
    """
    id = archive["source"]
    if source is None or source["tenant"] != archive["tenant"]:  # another tenant's file is no file
        what = f"No such File object: {id}, or it holds no documents. Name a file of documents."
        return Refusal("source_not_found", what) if late else None
    if source["source"] is not None:
        what = f"The file {id} is itself re-curated. Name the file that its documents are in: {source['source']}."
        return Refusal("source_is_recurated", what)
    if source["deleted"]:
        return Refusal("source_deleted", f"The file {id} was deleted, and all that was made of it. Upload it again.")
    if source["uploaded"]["purpose"] != PURPOSE:
        what = f"The file {id} has purpose '{source['uploaded']['purpose']}', so no data set is made of it."
        return Refusal("invalid_file_purpose", f"{what} Upload it with purpose '{PURPOSE}'.")
    if source["failed"] and not source["assembled"]:
        what = f"No data set could be made of the file {id}: {source['failed']['message']}"
        return Refusal("source_failed", what)
    return None
