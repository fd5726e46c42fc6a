"""Which answers are shown to be read: those that were lost by tuning first, then those still wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from contracts.benchmarks import Item, Side, TaskResult
from functions.benchmark_model.report.text import cut

Sort = Literal["lost", "unscored", "wrong"]
SORTS: tuple[Sort, ...] = ("lost", "unscored", "wrong")
"""lost: base was right; unscored: nobody knows; wrong: base was too, or was not asked."""
HALF = 0.5
"""A lower score is a failure."""
MAX_PASSAGES = 8


@dataclass(frozen=True, slots=True)
class FailedAnswer:
    """What one side said."""

    side: Side
    text: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Failure:
    """One item to read."""

    task: TaskResult
    lost: bool
    """Base was right."""
    question: str
    passages: tuple[tuple[str, bool], ...]
    """Text, and whether the right answer stands in it word for word."""
    more_passages: int
    answer: str
    answers: tuple[FailedAnswer, ...]
    errors: tuple[str, ...]
    place: str
    cell: str


class Failures:
    """Collects failures one by one and keeps the first `limit` of each task and sort."""

    def __init__(self, tasks: Sequence[TaskResult], limit: int) -> None:
        self._tasks = {task.name: task for task in tasks}
        self._limit = limit
        self._kept: dict[tuple[str, Sort], list[Failure]] = {(name, sort): [] for name in self._tasks for sort in SORTS}
        self.counts = dict.fromkeys(self._tasks, 0)
        """Task → all of its failures."""

    def add(self, item: Item) -> None:
        """Take note of an item, which may be none."""
        task = self._tasks.get(item.task)
        if task is None or task.kind == "no_context":  # a control: nobody expects it to be right
            return
        base, tuned = (item.scores.get(side, {}).get(task.metric) for side in ("base", "tuned"))
        if tuned is not None and tuned >= HALF:
            return
        self.counts[task.name] += 1
        sort: Sort = "unscored" if tuned is None else "wrong" if base is None or base < HALF else "lost"
        kept = self._kept[task.name, sort]
        if len(kept) < self._limit:
            kept.append(_failure(item, task, sort == "lost"))

    def shown(self, limit: int) -> list[Failure]:
        """Return at most `limit` of each task: the lost ones, some of the unscored ones, then the wrong ones."""
        shown = []
        for name in self._tasks:
            lost, unscored, wrong = (self._kept[name, sort] for sort in SORTS)
            shown += [*lost, *unscored[: limit // 4], *wrong][:limit]
        return shown


def _failure(item: Item, task: TaskResult, lost: bool) -> Failure:
    wanted = item.answer.strip().casefold()
    sides: Iterable[Side] = ("base", "tuned")
    source = item.source
    return Failure(
        task=task,
        lost=lost,
        question=cut(item.question),
        passages=tuple((cut(each), bool(wanted) and wanted in each.casefold()) for each in item.context[:MAX_PASSAGES]),
        more_passages=len(item.context[MAX_PASSAGES:]),
        answer=cut(item.answer),
        answers=tuple(
            FailedAnswer(side, cut(item.said[side]), item.scores.get(side, {}).get(task.metric))
            for side in sides
            if side in item.said
        ),
        errors=tuple(f"{side}: {cut(why)}" for side, why in item.errors.items()),
        place=", ".join(
            f"p. {source[key]}" if key == "page" else cut(str(source[key])) for key in ("path", "page") if key in source
        ),
        cell=", ".join(f"{key} {value}" for key, value in item.by.items()),
    )
