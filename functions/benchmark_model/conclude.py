"""Score what was said and write the result: `python -m functions.benchmark_model.conclude spec.json`.

The spec names `questions` (the suite's lines), `answers` (side → files of answers, lines {id, said} or {id, error}),
`harness` (items of lm-eval's tasks with what is said of them, or null), `judge` (its `model`, and `scores`, a file with
a line for each answer judged; or null), `metric` (by which answers are compared, or null), `metrics` (a job's
step_metrics.csv, or null), `head` (the result's fields that are known already) and `folder`. Written there:
items.jsonl, result.json, judge.jsonl, report.html and its pictures; printed: {verdict, sentence, scores, pictures}.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from contracts.asking import REFUSAL
from contracts.benchmarks import Item, Loss, Metric, Result, Side, TaskResult
from contracts.events.benchmarks import MOST_SCORES, TaskScore
from functions._shared.child import answer
from functions.benchmark_model.core import TITLES, Question, judged_by, primary, scored
from functions.benchmark_model.report.build import build
from functions.benchmark_model.summary import noted, summarise
from functions.benchmark_model.verdict import verdict
from functions.benchmark_model.wording import METRIC_NAMES

ITEMS, RESULT = "items.jsonl", "result.json"
JUDGED = "judge.jsonl"
SCORERS: Mapping[str, str] = {"refusal": "refusal wanted (no judge)"}
Verdicts = Mapping[tuple[str, str], Mapping[str, Any]]
"""(item, side) → what the judge said."""


def conclude(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Write everything; return what the event says."""
    folder = Path(spec["folder"])
    said = {side: _answers(paths) for side, paths in spec["answers"].items()}
    questions = [Question.model_validate_json(line) for line in Path(spec["questions"]).read_bytes().splitlines()]
    judge, verdicts = spec["judge"], _verdicts(spec["judge"], folder)
    by = judged_by(judge["model"], version("deepeval")) if judge else None
    items = [_item(question, said, verdicts) for question in questions]
    tasks = list(_tasks(questions, items, judge["model"] if judge else None, spec["metric"]))
    if spec["harness"]:
        more = json.loads(Path(spec["harness"]).read_bytes())
        tasks += [TaskResult.model_validate(task) for task in more["tasks"]]
        items += [Item.model_validate(item) for item in more["items"]]
    results = noted(tasks)
    found, sentence = verdict(results)
    result = Result.model_validate(
        {
            **spec["head"],
            "config": {**spec["head"]["config"], "judge": by},
            "verdict": found,
            "sentence": sentence,
            "tasks": results,
            "losses": list(_losses(spec["metrics"])),
        }
    )
    (folder / ITEMS).write_text("".join(item.model_dump_json() + "\n" for item in items), encoding="utf-8")
    (folder / RESULT).write_text(result.model_dump_json(indent=1), encoding="utf-8")
    made = build(result, iter(items), folder)
    scores = [_short(task).model_dump(mode="json") for task in results[:MOST_SCORES]]
    return {"verdict": found, "sentence": sentence, "scores": scores, "pictures": made["pictures"]}


def _answers(paths: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    lines = (json.loads(line) for path in paths for line in Path(path).read_bytes().splitlines())
    return {line["id"]: line for line in lines}


def _verdicts(judge: Mapping[str, str] | None, folder: Path) -> Verdicts | None:
    """Return what a judge said, which is kept beside the items; None without a judge."""
    if judge is None:
        return None
    content = Path(judge["scores"]).read_bytes()
    (folder / JUDGED).write_bytes(content)
    return {(line["id"], line["side"]): line for line in map(json.loads, content.splitlines())}


def _item(
    question: Question, answers: Mapping[Side, Mapping[str, Mapping[str, Any]]], verdicts: Verdicts | None
) -> Item:
    said, scores, reasons, errors = {}, {}, {}, {}
    for side, lines in answers.items():
        line, verdict = lines[question.id], (verdicts or {}).get((question.id, side))
        by_rule = scored(question, line.get("said", ""))
        if "error" in line:
            errors[side], by_rule = line["error"], dict.fromkeys(by_rule, None)
        else:
            said[side] = line["said"]
        scores[side] = by_rule
        if verdicts is not None and question.answer != REFUSAL:
            scores[side] = {**by_rule, "judge": verdict["score"] if verdict else None}
        if verdict and verdict["score"] is None:
            errors[side] = verdict["error"]
        elif verdict:
            reasons[side] = verdict["reason"]
    return Item(
        id=question.id,
        task=question.task,
        question=question.question,
        context=question.passages,
        answer=question.answer,
        source=question.source,
        by=question.by,
        said=said,
        scores=scores,
        reasons=reasons,
        errors=errors,
    )


def _tasks(
    questions: Sequence[Question], items: Sequence[Item], judge: str | None, wanted: Metric | None
) -> Iterator[TaskResult]:
    names = list(dict.fromkeys(question.task for question in questions))
    for name in names:
        first = next(question for question in questions if question.task == name)
        metric = primary(first, judge is not None, wanted)
        yield summarise(
            [item for item in items if item.task == name],
            name=name,
            kind=first.kind,
            title=TITLES[name],
            metric=metric,
            scorer=_scorer(metric, judge),
        )


def _scorer(metric: str, judge: str | None) -> str:
    if metric == "judge":
        return f"judge: {judge}"
    return SCORERS.get(metric, f"{METRIC_NAMES[metric]} (no judge)")


def _losses(path: str | None) -> Iterator[Loss]:
    """Yield what the job's own result file says of each step."""
    if path is None:
        return
    with Path(path).open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            valid = row.get("full_valid_loss") or row.get("valid_loss")
            yield Loss(
                step=int(row["step"]), train_loss=float(row["train_loss"]), valid_loss=float(valid) if valid else None
            )


def _short(task: TaskResult) -> TaskScore:
    values = {side: score.estimate.value for side, score in task.scores.items() if score.estimate is not None}
    gap = task.difference.estimate if task.difference else None
    counts = list(task.scores.values())
    return TaskScore(
        name=task.name,
        metric=task.metric,
        scorer=task.scorer,
        n=max((score.n for score in counts), default=0),
        unscored=max((score.unscored for score in counts), default=0),
        base=values.get("base"),
        tuned=values.get("tuned"),
        difference=(gap.value, gap.low, gap.high) if gap else None,
    )


if __name__ == "__main__":
    sys.exit(answer(conclude))
