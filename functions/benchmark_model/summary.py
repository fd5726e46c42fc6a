"""From scored items to what a benchmark says: scores, differences, cells, a verdict in words; pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from contracts.benchmarks import SIDES, Cell, Difference, Item, Kind, Score, Side, TaskResult
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
from functions.benchmark_model.verdict import LEVEL, estimate, of_task
from functions.benchmark_model.wording import interval, percent

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
    if of_task(task)[0] in ("better", "worse") and corrected[task.name] >= LEVEL:
        yield (
            f"One of {len(corrected)} comparisons: corrected for their number (Holm) p is {corrected[task.name]:.2f}, "
            "so this one may be chance."
        )
    known = estimate(task, "tuned") if task.kind == "no_context" else None
    if known is not None and known.low > LEVEL:
        yield (
            f"Control: without any passage {percent(known.value)} ({interval(known)}) are right, so that many "
            "questions can be guessed or are known by heart."
        )
