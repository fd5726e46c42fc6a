"""From scored items to what a benchmark says: scores, differences, cells, a verdict in words; pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from contracts.benchmarks import SIDES, Cell, Difference, Estimate, Item, Kind, Score, Side, TaskResult, Verdict
from functions.benchmark_model.statistics import (
    BOOTSTRAP_DRAWS,
    EXACT_PAIRS,
    PERMUTATION_DRAWS,
    binary,
    gain,
    holm,
    mcnemar,
    mean,
    mean_gain,
    permutation,
)
from functions.benchmark_model.wording import interval, percent, says, span

LEVEL = 0.05
FEW_ITEMS = 20
"""With fewer pairs only a very large difference can be shown."""
_PAGES = (("path", "page"), ("path", "index", "chunk"))
GROUPS: Mapping[Kind, Sequence[tuple[str, ...]]] = {
    "documents": _PAGES,
    "trained": _PAGES,
    "closed_book": _PAGES,
    "needle": (
        ("length",),
        ("chunks",),
        ("position",),
        ("distractors",),
        ("length", "chunks", "position", "distractors"),
    ),
}
"""What the cells of a task are by: keys of an item's `by` or `source`."""
PRIMARY: Sequence[Kind] = (
    "documents", "generalization", "needle", "closed_book", "lm_eval",
    "trained", "forgetting", "absent", "no_context")  # fmt: skip
"""The verdict is on the first of these that was compared, chosen before anything was seen."""
_HARMED: Sequence[Kind] = ("forgetting", "lm_eval")


def summarise(
    items: Sequence[Item], *, name: str, kind: Kind, title: str, metric: str, scorer: str, note: str = ""
) -> TaskResult:
    """Return what the items of a task say; `metric` is compared, the other metrics they have are shown.

    Raises ValueError when an item occurs twice or belongs to another task.
    """
    counts = Counter(item.id for item in items)
    if counts and counts.most_common(1)[0][1] > 1:
        raise ValueError(f"{name}: item {counts.most_common(1)[0][0]} occurs twice, so it would count twice")
    strange = next((item for item in items if item.task != name), None)
    if strange is not None:
        raise ValueError(f"{name}: item {strange.id} belongs to {strange.task}")
    sides = _sides(items)
    others = sorted({metric for item in items for side in sides for metric in item.scores.get(side, {})} - {metric})
    return TaskResult(
        name=name,
        kind=kind,
        title=title,
        metric=metric,
        scorer=scorer,
        scores=_scores(items, metric, sides),
        difference=difference(items, metric) if len(sides) == len(SIDES) else None,
        other={other: _scores(items, other, sides) for other in others},
        cells=tuple(cell for keys in GROUPS.get(kind, ()) for cell in cells(items, metric, keys)),
        note=note,
    )


def _sides(items: Iterable[Item]) -> tuple[Side, ...]:
    seen = {side for item in items for side in (*item.said, *item.scores, *item.errors)}
    return tuple(side for side in SIDES if side in seen)


def _scores(items: Sequence[Item], metric: str, sides: Iterable[Side]) -> dict[Side, Score]:
    return {side: score(items, metric, side) for side in sides}


def score(items: Sequence[Item], metric: str, side: Side) -> Score:
    """Return a side's mean over the items that could be scored; the others are counted, never taken for 0."""
    values = [value for item in items if (value := _value(item, metric, side)) is not None]
    return Score(n=len(values), unscored=len(items) - len(values), estimate=mean(values) if values else None)


def _value(item: Item, metric: str, side: Side) -> float | None:
    return item.scores.get(side, {}).get(metric)


def difference(items: Sequence[Item], metric: str) -> Difference | None:
    """Return tuned minus base over the items scored on both sides; None where there are none."""
    pairs = [(_value(item, metric, "base"), _value(item, metric, "tuned")) for item in items]
    scored = [(base, tuned) for base, tuned in pairs if base is not None and tuned is not None]
    if not scored:
        return None
    base, tuned = [before for before, _ in scored], [after for _, after in scored]
    changes = [after - before for before, after in scored]
    better, worse = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
    if binary(base) and binary(tuned):
        estimate = gain([bool(value) for value in base], [bool(value) for value in tuned])
        p, method = mcnemar(better, worse), "Newcombe's interval for paired shares; McNemar's exact test"
    else:
        draws = "exact" if better + worse <= EXACT_PAIRS else f"{PERMUTATION_DRAWS:,} draws"
        estimate, p = mean_gain(base, tuned), permutation(changes)
        method = f"bootstrap over items ({BOOTSTRAP_DRAWS:,} draws); paired permutation test ({draws})"
    return Difference(n=len(scored), estimate=estimate, better=better, worse=worse, p=p, method=method)


def cells(items: Sequence[Item], metric: str, keys: Sequence[str]) -> tuple[Cell, ...]:
    """Return a cell for each combination of `keys` that occurs, in order; items without one of them are in none."""
    sides, groups = _sides(items), defaultdict[tuple[str | int, ...], list[Item]](list)
    for item in items:
        place = {**item.source, **item.by}
        if all(key in place for key in keys):
            groups[tuple(place[key] for key in keys)].append(item)
    # Words stand as they came (begin, middle, end), numbers by size.
    came = {value: at for at, value in enumerate(dict.fromkeys(value for group in groups for value in group))}

    def order(values: tuple[str | int, ...]) -> list[tuple[bool, int]]:
        return [(isinstance(value, str), came[value] if isinstance(value, str) else value) for value in values]

    return tuple(
        Cell(by=dict(zip(keys, values, strict=True)), scores=_scores(groups[values], metric, sides))
        for values in sorted(groups, key=order)
    )


def noted(tasks: Sequence[TaskResult]) -> tuple[TaskResult, ...]:
    """Return the tasks with notes on what a reader has to know: few items, many comparisons, unscored, controls."""
    compared = [task for task in tasks if task.difference is not None]
    corrected = dict(zip((task.name for task in compared), holm([_p(task) for task in compared]), strict=True))
    return tuple(
        task.model_copy(update={"note": " ".join(filter(None, (task.note, *_notes(task, corrected))))})
        for task in tasks
    )


def _p(task: TaskResult) -> float:
    return task.difference.p if task.difference is not None else 1.0


def _notes(task: TaskResult, corrected: Mapping[str, float]) -> Iterable[str]:
    missing = sum(score.unscored for score in task.scores.values())
    if missing:
        asked = sum(score.n + score.unscored for score in task.scores.values())
        yield f"{missing} of {asked} answers could not be scored and are left out."
    if task.difference is not None and task.difference.n < FEW_ITEMS:
        yield f"Few items (n = {task.difference.n}): only a very large difference could be shown."
    if judge(task)[0] in ("better", "worse") and corrected[task.name] >= LEVEL:
        yield (
            f"One of {len(corrected)} comparisons: corrected for their number (Holm) p is {corrected[task.name]:.2f}, "
            "so this one may be chance."
        )
    known = _estimate(task, "tuned") if task.kind == "no_context" else None
    if known is not None and known.low > LEVEL:
        yield (
            f"Control: without any passage {percent(known.value)} ({interval(known)}) are right, so that many "
            "questions can be guessed or are known by heart."
        )


def verdict(tasks: Sequence[TaskResult]) -> tuple[Verdict, str]:
    """Return the verdict on the task that counts, in words, and what was lost elsewhere."""
    ranked = sorted(tasks, key=lambda task: PRIMARY.index(task.kind))
    scored = [task for task in ranked if any(score.n for score in task.scores.values())]
    if not scored:
        asked = sum(score.unscored for task in tasks for score in task.scores.values())
        return "unscored", f"Nothing could be scored: none of {asked} answers."
    main = next((task for task in scored if task.difference is not None), scored[0])
    found, sentence = judge(main)
    lost = [task for task in scored if task.kind in _HARMED and task is not main and judge(task)[0] == "worse"]
    losses = ((task.title, _less(task.difference.estimate)) for task in lost if task.difference is not None)
    also = "".join(f" But worse at {title}: by {span(loss)}." for title, loss in losses)
    return found, sentence + also


def judge(task: TaskResult) -> tuple[Verdict, str]:
    """Return the verdict on one task: a difference counts where its interval and its test both show it."""
    base, tuned = _estimate(task, "base"), _estimate(task, "tuned")
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


def _estimate(task: TaskResult, side: Side) -> Estimate | None:
    return task.scores[side].estimate if side in task.scores else None


def _less(estimate: Estimate) -> Estimate:
    """Return a loss as a positive number."""
    return Estimate(value=-estimate.value, low=-estimate.high, high=-estimate.low)
