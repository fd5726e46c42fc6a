"""Fix what is asked: `python -m functions.benchmark_model.suite spec.json`.

The spec names `suite` (a Suite), `tokenizer` (a tokenizer.json), `context` (tokens that the base can read), `out`,
where a line is written for each Question, and files of rows, or null: `rows`, `held_out`, `validation`,
`generalization`, `forgetting`; of the first two also where rows come from, `lineage` and `held_out_lineage`.
How many questions there are of each task is printed as one JSON object.
"""

from __future__ import annotations

import heapq
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from contracts import asking
from contracts.benchmarks import Kind
from contracts.corpus import RowOrigin
from contracts.events.benchmarks import Suite
from functions._shared.child import answer
from functions.benchmark_model.core import FILES, Question, draw, question_id
from functions.benchmark_model.needle import Haystack, Needle, grid

ANSWER_ROOM = 16
"""Tokens that an answer may have beyond twice those of the right one."""
MOST_TOKENS = 512

Count = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class SuiteRow:
    """A row with the passages that it shows, and where its answer stands."""

    messages: tuple[Mapping[str, Any], ...]
    """All but the answer."""
    tools: tuple[Mapping[str, Any], ...] | None
    answer: str
    passages: tuple[str, ...]
    question: str
    origin: RowOrigin | None = None
    key: int = field(default=0, compare=False)

    @property
    def source(self) -> dict[str, str | int]:
        """Path, document, chunk, its index and page, as far as they are known."""
        if self.origin is None or not self.origin.document:
            return {}
        found: dict[str, str | int] = {name: getattr(self.origin, name) for name in ("path", "document", "chunk")}
        known = {"index": self.origin.index, "page": self.origin.span.page if self.origin.span else None}
        return found | {name: value for name, value in known.items() if value is not None}

    @property
    def absent(self) -> bool:
        """Whether the right answer is that the context does not say."""
        return self.answer == asking.REFUSAL


def read_rows(rows: str | None, lineage: str | None) -> Iterator[SuiteRow]:
    """Yield the rows of a file whose last message is an answer in words; general rows of a data set are left out."""
    if rows is None:
        return
    with Path(rows).open("rb") as lines, Path(lineage or "/dev/null").open("rb") as origins:
        for line in lines:
            body = json.loads(line)
            origin = RowOrigin.model_validate_json(next(origins)) if lineage else None
            *messages, last = body["messages"]
            if last["role"] != "assistant" or not last.get("content") or (origin and not origin.document):
                continue
            content = messages[-1].get("content") if messages else None
            passages, question = asking.read(content) if isinstance(content, str) else ([], "")
            tools = tuple(body["tools"]) if body.get("tools") else None
            yield SuiteRow(tuple(messages), tools, last["content"], tuple(passages), question, origin)


def sample(rows: Iterable[SuiteRow], count: int, seed: int, name: str) -> list[SuiteRow]:
    """Return at most `count` rows drawn by their content, one variant of each example at most, in drawn order."""
    chosen: dict[str, tuple[int, SuiteRow]] = {}
    for row in rows:
        words = json.dumps(row.messages, ensure_ascii=False)
        example = row.origin.example if row.origin else words
        place = draw(seed, name, example, row.origin.variant if row.origin else 0, words)
        if example not in chosen or place < chosen[example][0]:
            chosen[example] = place, row
    return [row for _, row in heapq.nsmallest(count, chosen.values(), key=lambda each: each[0])]


class Suiter:
    """Makes the questions of every task."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._spec, self._suite = spec, Suite.model_validate(spec["suite"])
        self._tokenizer = Tokenizer.from_file(spec["tokenizer"])
        self._held_out = list(read_rows(spec["held_out"], spec["held_out_lineage"]))

    def count(self, text: str) -> int:
        """Return the tokens of a text."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def questions(self) -> Iterator[Question]:
        """Yield every question, in an order that depends on contents alone."""
        tasks, answered = self._suite.tasks, [row for row in self._held_out if not row.absent]
        asked = self._sample(answered, "documents")
        if "documents" in tasks:
            yield from (self._plain(row, "documents", "documents") for row in asked)
            yield from (self._bare(row, "no_context", "no_context") for row in asked if row.passages)
            absent = self._sample((row for row in self._held_out if row.absent), "absent")
            yield from (self._plain(row, "absent", "absent") for row in absent)
            validation = self._sample(read_rows(self._spec["validation"], None), "validation")
            yield from (self._plain(row, "validation", "documents") for row in validation)
        for name in FILES:
            more = self._sample(read_rows(self._spec[name], None), name)
            yield from (self._plain(row, name, name) for row in more)
        if {"trained", "closed_book"} & set(tasks):
            trained = (row for row in read_rows(self._spec["rows"], self._spec["lineage"]) if not row.absent)
            chosen = self._sample(trained, "trained")
            if "trained" in tasks:
                yield from (self._plain(row, "trained", "trained") for row in chosen)
            if "closed_book" in tasks:
                yield from (self._bare(row, "closed_book", "closed_book") for row in chosen if row.passages)
        if "needle" in tasks:
            yield from self._needle(answered)

    def _sample(self, rows: Iterable[SuiteRow], name: str) -> list[SuiteRow]:
        return sample(rows, self._suite.items, self._suite.seed, name)

    def _plain(self, row: SuiteRow, task: str, kind: Kind) -> Question:
        return self._question(task, kind, row.messages, row)

    def _bare(self, row: SuiteRow, task: str, kind: Kind) -> Question:
        *before, last = row.messages
        return self._question(task, kind, (*before, {**last, "content": f"Question: {row.question}"}), row, shown=False)

    def _needle(self, answered: list[SuiteRow]) -> Iterator[Question]:
        needles = [
            Needle(row.question, row.answer, row.passages[row.origin.position], row.origin.chunk, row)
            for row in answered
            if row.origin is not None and row.origin.position is not None and row.passages
        ]
        trained = read_rows(self._spec["rows"], self._spec["lineage"])  # hay may be known; only needles may not
        haystack = Haystack(_chunks(chain(self._held_out, trained)), self.count)
        for found in grid(needles, haystack, self._suite.grid, self._spec["context"], self._suite.seed):
            row = found.needle.row
            *before, last = row.messages
            messages = (*before, {**last, "content": asking.asked(found.passages, row.question)})
            task, answer = ("needle_absent", asking.REFUSAL) if found.absent else ("needle", row.answer)
            kind: Kind = "absent" if found.absent else "needle"
            yield Question(
                id=question_id(f"{task} {sorted(found.by.items())}", messages, answer),
                task=task,
                kind=kind,
                messages=messages,
                question=row.question,
                passages=tuple(text[:200] for text in found.passages),
                answer=answer,
                max_tokens=self._room(answer),
                source=row.source,
                by=found.by,
            )

    def _question(
        self, task: str, kind: Kind, messages: tuple[Mapping[str, Any], ...], row: SuiteRow, shown: bool = True
    ) -> Question:
        return Question(
            id=question_id(task, messages, row.answer),
            task=task,
            kind=kind,
            messages=messages,
            tools=row.tools,
            question=row.question or str(messages[-1].get("content") if messages else ""),
            passages=row.passages if shown else (),
            answer=row.answer,
            max_tokens=self._room(row.answer),
            source=row.source,
        )

    def _room(self, answer: str) -> int:
        return min(MOST_TOKENS, 2 * self.count(answer) + ANSWER_ROOM)


def _chunks(rows: Iterable[SuiteRow]) -> dict[str, str]:
    """Return chunk → its text as rows show it: the right one, and the distractors in their order."""
    found: dict[str, str] = {}
    for row in rows:
        if row.origin is None:
            continue
        others = iter(row.origin.distractors)
        for place, text in enumerate(row.passages):
            chunk = row.origin.chunk if place == row.origin.position else next(others, "")
            if chunk:
                found.setdefault(chunk, text)
    return dict(sorted(found.items()))


def main(spec: dict[str, Any]) -> dict[str, int]:
    """Write the questions that the spec asks for; return how many there are of each task."""
    counts: dict[str, int] = {}
    seen: set[str] = set()
    with Path(spec["out"]).open("w", encoding="utf-8") as out:
        for question in Suiter(spec).questions():
            if question.id not in seen:  # two rows may ask the same
                seen.add(question.id)
                out.write(question.model_dump_json() + "\n")
                counts[question.task] = counts.get(question.task, 0) + 1
    return counts


if __name__ == "__main__":
    sys.exit(answer(main))
