"""The report's pictures by matplotlib: SVG that takes the page's colours, and the same as files of their own."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.ticker as ticker
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from contracts.benchmarks import SIDES, Loss, Side, TaskResult
from functions.benchmark_model.report.page import Chart, Pages, curve, places, values_of
from functions.benchmark_model.report.text import clean, cut

COLOURS: Mapping[str, str] = {
    "ink": "#16202c",
    "muted": "#55606e",
    "rule": "#d9dee5",
    "base": "#66717e",
    "tuned": "#0b5cad",
    "surface": "#fffffe",
}
"""Name of a CSS variable → its colour in files; nothing else in a picture may have one of these colours."""
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "text.color": COLOURS["ink"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.edgecolor": COLOURS["rule"],
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "ytick.left": False,
    "xtick.bottom": False,
    "grid.color": COLOURS["rule"],
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "lines.linewidth": 2.0,
}
MARKS: Mapping[Side, Mapping[str, Any]] = {
    "base": {"color": COLOURS["base"], "linestyle": (0, (4, 2)), "marker": "s", "markersize": 6.5,
             "markerfacecolor": COLOURS["surface"], "markeredgewidth": 1.6},
    "tuned": {"color": COLOURS["tuned"], "linestyle": "-", "marker": "o", "markersize": 7},
}  # fmt: skip
"""The sides differ in dash and marker too."""
_APART = 0.06
_SIZE = (360 / 72, 252 / 72)  # inches; a unit of the SVG is a pixel of a 360 px wide column
_MAX_SIDE = 24
"""Documents and pages of a heat-map's picture."""

Draw = Callable[[Figure], None]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that stands in the page; its files have its name."""

    name: str
    svg: str
    """To stand in a page: its colours are CSS variables, its title says what is to be seen."""


def accuracy(chart: Chart, folder: Path) -> Picture:
    """Draw accuracy of both sides over one axis, with 95 % intervals."""
    label = f"{chart.title}, {chart.task}: " + "; ".join(
        f"{side} " + ", ".join(f"{point.label}: {_said(point.scores.get(side))}" for point in chart.points)
        for side in SIDES
        if any(side in point.scores for point in chart.points)
    )

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for shift, side in zip((-_APART, _APART), SIDES, strict=True):
            known = [
                (at + shift, score.estimate)
                for at, point in enumerate(chart.points)
                if (score := point.scores.get(side)) is not None and score.estimate is not None
            ]
            if known:
                places = [at for at, _ in known]
                axes.vlines(
                    places,
                    [100 * found.low for _, found in known],
                    [100 * found.high for _, found in known],
                    color=COLOURS[side],
                    linewidth=1.4,
                )
                marks = {**MARKS[side], "label": side} | ({} if chart.ordered else {"linestyle": "none"})
                axes.plot(places, [100 * found.value for _, found in known], clip_on=False, **marks)
        axes.set_xticks(range(len(chart.points)), [cut(point.label, 16) for point in chart.points])
        axes.set_xlim(-0.35, len(chart.points) - 0.65)
        axes.set_ylim(0, 100)
        axes.set_yticks(range(0, 101, 25))
        axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%d %%"))
        axes.grid(axis="y")
        axes.set_xlabel(chart.axis)
        _legend(axes)

    return _picture(chart.name, f"{chart.title} – {chart.task}", label, draw, folder)


def _said(score: Any) -> str:
    return "not scored" if score is None or score.estimate is None else f"{100 * score.estimate.value:.0f} %"


def losses(steps: Sequence[Loss], folder: Path) -> Picture:
    """Draw the loss of training and validation over steps."""
    train, valid = curve(steps)
    label = f"Loss over {steps[-1].step} steps: training from {train[0][1]:.3f} to {train[-1][1]:.3f}"
    if valid:
        label += f", validation from {valid[0][1]:.3f} to {valid[-1][1]:.3f}"

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot([at for at, _ in train], [loss for _, loss in train], color=COLOURS["tuned"], label="training")
        if valid:
            marks = {**MARKS["base"], "label": "validation", "markevery": max(1, len(valid) // 12)}
            axes.plot([at for at, _ in valid], [loss for _, loss in valid], **marks)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(ticker.MaxNLocator(5))
        axes.grid(axis="y")
        axes.set_xlabel("step")
        _legend(axes)

    return _picture("loss", "Loss", label, draw, folder)


def scores(tasks: Sequence[TaskResult], folder: Path) -> None:
    """Draw every task's scores of both sides with their intervals, as files only."""

    def draw(figure: Figure) -> None:
        figure.set_size_inches(8, 1.1 + 0.45 * len(tasks))
        axes = figure.add_subplot()
        for shift, side in zip((0.13, -0.13), SIDES, strict=True):
            known = [
                (len(tasks) - at + shift, score.estimate)
                for at, task in enumerate(tasks)
                if (score := task.scores.get(side)) is not None and score.estimate is not None
            ]
            lows, highs = [100 * found.low for _, found in known], [100 * found.high for _, found in known]
            axes.hlines([at for at, _ in known], lows, highs, color=COLOURS[side], linewidth=1.4)
            marks = {**MARKS[side], "linestyle": "none", "label": side}
            axes.plot([100 * found.value for _, found in known], [at for at, _ in known], clip_on=False, **marks)
        axes.set_yticks(range(len(tasks), 0, -1), [cut(task.title, 40) for task in tasks])
        axes.set_xlim(0, 100)
        axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%d %%"))
        axes.grid(axis="x")
        _legend(axes)

    _write("scores", "Base and tuned", draw, folder)


def pages(shown: Pages, name: str, folder: Path) -> None:
    """Draw base, tuned and gain of the first documents (rows) and pages or chunks (columns), as files only."""
    values = {(str(cell.by["path"]), number): values_of(cell) for _, number, cell in places(shown.task)}
    paths = list(dict.fromkeys(path for path, _ in values))[:_MAX_SIDE]
    columns = sorted({number for _, number in values})[:_MAX_SIDE]
    kinds = [kind for kind in ("base", "tuned", "gain") if any(found[kind] is not None for found in values.values())]

    def draw(figure: Figure) -> None:
        figure.set_size_inches(4 + 0.4 * len(columns), 1 + len(kinds) * (0.6 + 0.3 * len(paths)))
        for at, kind in enumerate(kinds, 1):
            axes = figure.add_subplot(len(kinds), 1, at)
            least, colours = (-1, _DIVERGING) if kind == "gain" else (0, _SEQUENTIAL)
            grid = [[_or_nan(values.get((path, number), {}).get(kind)) for number in columns] for path in paths]
            axes.imshow(grid, cmap=colours, vmin=least, vmax=1, aspect="auto")
            for row, line in enumerate(grid):
                for column, value in enumerate(line):
                    if not isnan(value):
                        colour = "white" if abs(value) > 0.6 else COLOURS["ink"]
                        axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=colour, fontsize=9)
            axes.set_title(f"{kind}, points" if kind == "gain" else f"{kind}, %", fontsize=11, loc="left")
            axes.set_xticks(range(len(columns)), [str(number) for number in columns])
            axes.set_yticks(range(len(paths)), [cut(path, 40) for path in paths])
        axes.set_xlabel("page; chunk where a document has one page")

    _write(name, f"Page by page – {shown.task.title}", draw, folder)


_SEQUENTIAL = LinearSegmentedColormap.from_list("share", ["#f3f6fb", "#a9c8ec", "#134a85"])
_DIVERGING = LinearSegmentedColormap.from_list("gain", ["#a5430a", "#f6b27f", "#eef0f3", "#a9c8ec", "#134a85"])


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, borderaxespad=0.2, labelcolor=COLOURS["ink"])


def _picture(name: str, title: str, label: str, draw: Draw, folder: Path) -> Picture:
    _write(name, title, draw, folder)
    with _style(name):
        svg = io.StringIO()
        _drawn(draw).savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Picture(name, inline(svg.getvalue(), name, label))


def _write(name: str, title: str, draw: Draw, folder: Path) -> None:
    with _style(name):
        figure = _drawn(draw)
        figure.suptitle(cut(title, 90), fontsize=12, color=COLOURS["ink"], x=0.01, ha="left")
        for suffix, undated in (("svg", {"Date": None}), ("png", {"Software": None})):
            figure.savefig(folder / f"{name}.{suffix}", facecolor="white", dpi=160, metadata=undated)
            figure.set_layout_engine("none")  # laid out once is enough


@contextmanager
def _style(name: str) -> Iterator[None]:
    """Set what makes a picture the same each time; `name` keeps ids of several on one page apart."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a script the font does not have
        yield


def _drawn(draw: Draw) -> Figure:
    figure = Figure(figsize=_SIZE, layout="constrained")
    draw(figure)
    return figure


def inline(svg: str, name: str, label: str) -> str:
    """Return matplotlib's SVG for a page: no prologue, fonts or ids of its own, colours as CSS variables."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r' id="[A-Za-z0-9]+(?:\.[a-z]+)*_\d+"', "", body)
    body = re.sub(r"font-family: [^;\"]*;? ?|(?<=font: )([\d.]+px) [^;\"]*", r"\1", body)
    for variable, colour in COLOURS.items():
        body = body.replace(colour, f"var(--{variable})")
    view = re.search(r'viewBox="[^"]*"', body)
    assert view is not None
    opening = f'<svg class="plot" role="img" aria-labelledby="{name}-label" {view[0]}>'
    return f'{opening}<title id="{name}-label">{html.escape(clean(label))}</title>{body[body.index(">") + 1 :]}'
