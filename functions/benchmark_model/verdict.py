"""Whether the tuned model is better than its base, in a word and in a sentence; pure."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.benchmarks import Estimate, Kind, Side, TaskResult, Verdict
from functions.benchmark_model.wording import interval, percent, says, span

LEVEL = 0.05
PRIMARY: Sequence[Kind] = (
    "documents", "generalization", "needle", "closed_book", "lm_eval",
    "trained", "forgetting", "absent", "no_context")  # fmt: skip
"""The verdict is on the first of these that was compared, chosen before anything was seen."""
_HARMED: Sequence[Kind] = ("forgetting", "lm_eval")


def verdict(tasks: Sequence[TaskResult]) -> tuple[Verdict, str]:
    """Return the verdict on the task that counts, in words, and what was lost elsewhere."""
    ranked = sorted(tasks, key=lambda task: PRIMARY.index(task.kind))
    scored = [task for task in ranked if any(score.n for score in task.scores.values())]
    if not scored:
        asked = sum(score.unscored for task in tasks for score in task.scores.values())
        return "unscored", f"Nothing could be scored: none of {asked} answers."
    main = next((task for task in scored if task.difference is not None), scored[0])
    found, sentence = of_task(main)
    lost = [task for task in scored if task.kind in _HARMED and task is not main and of_task(task)[0] == "worse"]
    losses = ((task.title, _less(task.difference.estimate)) for task in lost if task.difference is not None)
    also = "".join(f" But worse at {title}: by {span(loss)}." for title, loss in losses)
    return found, sentence + also


def of_task(task: TaskResult) -> tuple[Verdict, str]:
    """Return the verdict on one task: a difference counts where its interval and its test both show it."""
    base, tuned = estimate(task, "base"), estimate(task, "tuned")
    if tuned is None:
        return "unscored", "Nothing that tuned said could be scored."
    if task.difference is None or base is None:
        why = "no answer was scored on both sides" if "base" in task.scores else "no base was asked"
        said = f"Tuned {says(task.metric, tuned.value)} ({interval(tuned)}), n = {task.scores['tuned'].n}"
        return "unscored", f"{said}; {why}, so nothing is compared."
    found, n = task.difference.estimate, task.difference.n
    both = f"{says(task.metric, tuned.value)}, base {percent(base.value)}"
    if task.difference.p < LEVEL and found.low > 0:
        return "better", f"Tuned {both}: better by {span(found)}, n = {n}."
    if task.difference.p < LEVEL and found.high < 0:
        return "worse", f"Tuned {both}: worse by {span(_less(found))}, n = {n}."
    aside = f", p = {task.difference.p:.2f}" if found.low > 0 or found.high < 0 else ""
    return "no_difference", f"No difference shown: tuned {both}; the difference is {span(found)}{aside}, n = {n}."


def estimate(task: TaskResult, side: Side) -> Estimate | None:
    """Return what a side scored by the task's metric, None where nothing could be scored."""
    return task.scores[side].estimate if side in task.scores else None


def _less(estimate: Estimate) -> Estimate:
    """Return a loss as a positive number."""
    return Estimate(value=-estimate.value, low=-estimate.high, high=-estimate.low)
