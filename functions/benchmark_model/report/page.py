"""What stands on the report's page, ready to be written: pure; the template only places it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from contracts.benchmarks import SIDES, Cell, Estimate, Loss, Result, Score, Side, TaskResult, Verdict
from functions.benchmark_model.report.text import cut
from functions.benchmark_model.verdict import of_task
from functions.benchmark_model.wording import METRIC_NAMES, interval, points

AXES: Mapping[str, tuple[str, str]] = {
    "length": ("Context length", "tokens of context"),
    "chunks": ("Number of chunks", "passages shown"),
    "position": ("Place of the right passage", "place among those shown"),
    "distractors": ("Kind of distractor", "how the other passages were chosen"),
}
"""Key of a grid's cell → title of its chart, and what its x axis counts."""
VERDICTS: Mapping[Verdict, tuple[str, str]] = {
    "better": ("▲", "Better"),
    "worse": ("▼", "Worse"),
    "no_difference": ("=", "No difference shown"),
    "unscored": ("?", "Not compared"),
}
"""Verdict → a sign that needs no colour, and a word."""
MAX_TILES = 600
"""Pages and chunks of one task on the page; its file has all."""
MAX_CURVE = 240
"""Points of a loss curve; steps between are averaged."""
_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
_GAINS = (-0.4, -0.15, -0.03, 0.03, 0.15, 0.4)
_GAIN_CLASSES = ("m3", "m2", "m1", "z", "p1", "p2", "p3")


@dataclass(frozen=True, slots=True)
class ChartPoint:
    """One place on a chart's x axis."""

    label: str
    scores: Mapping[Side, Score]


@dataclass(frozen=True, slots=True)
class Chart:
    """Accuracy of each side over one axis of a grid."""

    name: str
    """Of its files, without a suffix."""
    title: str
    task: str
    axis: str
    ordered: bool
    """Whether what is between two places means something, so that a line may join them."""
    points: tuple[ChartPoint, ...]


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One line of the table."""

    task: TaskResult
    scored: str
    """The metric, and who scored by it."""
    shown: Mapping[str, tuple[str, str]]
    """base, tuned, gain → number and interval; what is missing was not scored."""
    bar: tuple[float, float, float] | None
    """Low, value and high of the gain as 0..100 of the table's common scale."""
    verdict: Verdict
    other: tuple[tuple[str, str], ...]
    """Other metrics: name, and base → tuned."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One page of a document, or one chunk."""

    number: int
    n: int
    cells: tuple[tuple[str, str, str], ...]
    """Name of the number, number and class of colour: base, tuned, gain."""


@dataclass(frozen=True, slots=True)
class ReportedDocument:
    """What was learnt of a document."""

    path: str
    unit: str
    """What its tiles are: pages, or chunks."""
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class Pages:
    """What was learnt of each page, by one task; of each chunk where a document has one page only."""

    task: TaskResult
    documents: tuple[ReportedDocument, ...]
    left_out: int
    """Pages and chunks that are not shown."""


def rows(result: Result) -> list[ReportRow]:
    """Return the table's lines on a common scale of gains."""
    gains = [task.difference.estimate for task in result.tasks if task.difference is not None]
    reach = max((abs(end) for gain in gains for end in (gain.low, gain.high)), default=0.0) or 1.0
    return [_row(task, reach) for task in result.tasks]


def _row(task: TaskResult, reach: float) -> ReportRow:
    shown: dict[str, tuple[str, str]] = {
        side: _shown(score.estimate) for side, score in task.scores.items() if score.estimate is not None
    }
    bar = None
    if task.difference is not None:
        gain = task.difference.estimate
        shown["gain"] = _shown(gain, signed=True)
        bar = (_place(gain.low, reach), _place(gain.value, reach), _place(gain.high, reach))
    other = tuple(
        (METRIC_NAMES.get(metric, metric), " → ".join(_points(scores[side]) for side in SIDES if side in scores))
        for metric, scores in task.other.items()
    )
    metric = METRIC_NAMES.get(task.metric, task.metric)
    scored = cut(task.scorer if task.scorer.startswith(metric) else f"{metric} · {task.scorer}")
    return ReportRow(task, scored, shown, bar, of_task(task)[0], other)


def _place(value: float, reach: float) -> float:
    return round(50 + 50 * value / reach, 2)


def _shown(estimate: Estimate, *, signed: bool = False) -> tuple[str, str]:
    return _number(estimate.value, signed=signed), interval(estimate)


def _points(score: Score) -> str:
    return _number(None if score.estimate is None else score.estimate.value)


def charts(result: Result) -> list[Chart]:
    """Return a chart for each axis of each grid that has two places or more."""
    made = []
    for number, task in enumerate(result.tasks, 1):
        for key, (title, axis) in AXES.items():
            places = tuple(ChartPoint(str(cell.by[key]), cell.scores) for cell in _by(task, (key,)))
            if len(places) > 1:
                made.append(Chart(f"task{number}-{key}", title, task.title, axis, key != "distractors", places))
    return made


def _by(task: TaskResult, keys: Sequence[str]) -> Iterator[Cell]:
    return (cell for cell in task.cells if set(cell.by) == set(keys))


def learnt(result: Result) -> list[Pages]:
    """Return the heat-maps: what was asked again as it was trained comes first."""
    with_pages = [task for task in result.tasks if any(_by(task, ("path", "page")))]
    return [_pages(task) for task in sorted(with_pages, key=lambda task: task.kind != "trained")]


def _pages(task: TaskResult) -> Pages:
    every = list(places(task))
    tiles: dict[tuple[str, str], list[Tile]] = defaultdict(list)
    for unit, number, cell in every[:MAX_TILES]:
        tiles[str(cell.by["path"]), unit].append(_tile(number, cell))
    documents = tuple(ReportedDocument(path, unit, tuple(shown)) for (path, unit), shown in tiles.items())
    return Pages(task, documents, len(every[MAX_TILES:]))


def places(task: TaskResult) -> Iterator[tuple[str, int, Cell]]:
    """Yield the pages of every document, or the chunks of one that has one page only: unit, 1-based number, scores."""
    pages, chunks = list(_by(task, ("path", "page"))), defaultdict[object, list[Cell]](list)
    for cell in _by(task, ("path", "index", "chunk")):
        chunks[cell.by["path"]].append(cell)
    count = Counter(cell.by["path"] for cell in pages)
    for cell in pages:
        path = cell.by["path"]
        if count[path] == 1 and chunks[path]:
            yield from (("chunk", int(chunk.by["index"]) + 1, chunk) for chunk in chunks[path])
        else:
            yield "page", int(cell.by["page"]), cell


def _tile(number: int, cell: Cell) -> Tile:
    values = values_of(cell)
    cells: list[tuple[str, str, str]] = [
        (side, _number(values[side]), share_class(values[side])) for side in SIDES if side in cell.scores
    ]
    if len(cells) == len(SIDES):
        cells.append(("gain", _number(values["gain"], signed=True), gain_class(values["gain"])))
    return Tile(number, max(score.n for score in cell.scores.values()), tuple(cells))


def _number(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "–"
    return f"+{points((value,))[0]}" if signed and value > 0 else points((value,))[0]


def values_of(cell: Cell) -> dict[str, float | None]:
    """Return a cell's base, tuned and gain; None where it was not scored."""
    estimates = {side: cell.scores[side].estimate if side in cell.scores else None for side in SIDES}
    base, tuned = (None if found is None else found.value for found in estimates.values())
    return {"base": base, "tuned": tuned, "gain": None if base is None or tuned is None else tuned - base}


def share_class(value: float | None) -> str:
    """Return the class of colour of a share: s0 to s5, or none."""
    return "none" if value is None else f"s{sum(value >= edge for edge in _SHARES)}"


def gain_class(value: float | None) -> str:
    """Return the class of colour of a gain: m3 (lost most) to z (nothing) to p3, or none."""
    return "none" if value is None else _GAIN_CLASSES[sum(value > edge for edge in _GAINS)]


def curve(losses: Sequence[Loss]) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Return (step, loss) of training, averaged to at most `MAX_CURVE` points, and of every validation."""
    width = -(-len(losses) // MAX_CURVE) or 1
    buckets = [losses[at : at + width] for at in range(0, len(losses), width)]
    train = [
        (sum(loss.step for loss in bucket) / len(bucket), sum(loss.train_loss for loss in bucket) / len(bucket))
        for bucket in buckets
    ]
    return train, [(loss.step, loss.valid_loss) for loss in losses if loss.valid_loss is not None]


def facts(values: Mapping[str, str | int | float | None]) -> Iterable[tuple[str, str]]:
    """Return names and values as a reader wants to see them."""
    for name, value in values.items():
        if isinstance(value, float) and name.endswith(("coverage", "share")):
            yield name.replace("_", " "), f"{points((value,))[0]} %"
        else:
            yield (
                name.replace("_", " "),
                "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value),
            )
