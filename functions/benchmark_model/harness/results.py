"""From what lm-eval says of each sample to a benchmark's items. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from contracts.benchmarks import Item, Side, TaskResult
from contracts.envelope import derived_id
from functions.benchmark_model.summary import cells, summarise


def samples(task: str, subject: str, logged: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one task's samples on one side as plain rows: {id, question, answer, said, scores, by}.

    A sample comes once for each of lm-eval's filters; its metrics are named `metric` for the one that filters nothing
    and `metric (filter)` for others. `question` of a logged sample is the task's text of its document. Metrics without
    a number for each sample are left out.
    """
    rows: dict[int, dict[str, Any]] = {}
    seen: Counter[str] = Counter()
    for sample in logged:
        row = rows.get(sample["doc_id"])
        if row is None:
            content = str(sample["doc_hash"])
            seen[content] += 1
            row = rows[sample["doc_id"]] = {
                "id": derived_id(task, content, seen[content]),  # the same question twice is two items
                "question": _question(sample),
                "answer": _right(sample),
                "said": _said(sample),
                "scores": {},
                "by": {"subject": subject} if subject else {},
            }
        for metric in sample["metrics"]:
            value = sample[metric]
            if isinstance(value, bool | int | float) and 0 <= value <= 1:
                name = metric if sample["filter"] == "none" else f"{metric} ({sample['filter']})"
                row["scores"][name] = float(value)
    return list(rows.values())


def _question(sample: Mapping[str, Any]) -> str:
    """What was asked, without the few-shot examples before it."""
    text = sample["question"]
    if isinstance(text, str):
        return text
    return str(sample["arguments"][0][0]).rsplit("\n\n", 1)[-1]  # the choices are the contexts


def _choices(sample: Mapping[str, Any]) -> list[str] | None:
    arguments = sample["arguments"]
    if len(arguments) < 2 or any(len(argument) < 2 or not isinstance(argument[1], str) for argument in arguments):
        return None
    return [argument[1].strip() for argument in arguments]


def _right(sample: Mapping[str, Any]) -> str:
    target, choices = sample["target"], _choices(sample)
    if choices is not None and isinstance(target, int) and 0 <= target < len(choices):
        return choices[target]
    return str(target)


def _said(sample: Mapping[str, Any]) -> str:
    answers, choices = sample["filtered_resps"], _choices(sample)
    if choices is not None:
        values = [float(answer[0]) for answer in answers]
        return choices[values.index(max(values))]
    said = answers[0]
    return said if isinstance(said, str) else ""


def items(task: str, sides: Mapping[Side, Iterable[Mapping[str, Any]]]) -> list[Item]:
    """Join the samples of both sides into items of `task`, in their order.

    A sample that one side has no number for is unscored there, which is None and never 0.
    """
    joined: dict[str, dict[Side, Mapping[str, Any]]] = {}
    for side, rows in sides.items():
        for row in rows:
            joined.setdefault(row["id"], {})[side] = row
    found = []
    for id, told in joined.items():
        row = next(iter(told.values()))
        metrics = {metric for row in told.values() for metric in row["scores"]}
        found.append(
            Item(
                id=id,
                task=task,
                question=row["question"],
                answer=row["answer"],
                by=row["by"],
                said={side: row["said"] for side, row in told.items()},
                scores={
                    side: {name: row["scores"].get(name) for name in sorted(metrics)} for side, row in told.items()
                },
            )
        )
    return found


def task_result(
    items: Sequence[Item], title: str, metric: str, scorer: str, told: Sequence[Mapping[str, Any]]
) -> TaskResult:
    """Return what the items of one benchmark say; `told` is what lm-eval said of its tasks, each on each side."""
    result = summarise(
        items, name=items[0].task, kind="lm_eval", title=title, metric=metric, scorer=scorer, note=_note(metric, told)
    )
    return result.model_copy(update={"cells": cells(items, metric, ("subject",))})


def _note(metric: str, told: Sequence[Mapping[str, Any]]) -> str:
    shots = sorted({one["few_shot"] for one in told})
    notes = [f"{' or '.join(map(str, shots))} examples before each question." if any(shots) else ""]
    cut = sum(one["cut"] for one in told)
    if cut:
        notes.append(f"{cut} requests were longer than the model's context and lost their beginning.")
    if not any(metric in row["scores"] for one in told for row in one["samples"]):
        means = "; ".join(
            f"{one['side']} {name} {value:.4g}" for one in told for name, value in sorted(one["metrics"].items())
        )
        notes.append(f"lm-eval has no score for each item of this task. Its means: {means}.")
    return " ".join(filter(None, notes))
