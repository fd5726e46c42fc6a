"""Make a benchmark's report: `python -m functions.benchmark_model.report.build spec.json`.

The spec names `result` (a Result as JSON), `items` (a file of Items, JSON lines, or null) and `folder`. There it writes
report.html, which needs nothing beside it, and its pictures as SVG and PNG; the names are printed as one JSON object.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from contracts.benchmarks import Item, Result, Score
from functions._shared.child import answer
from functions.benchmark_model.report import charts, page
from functions.benchmark_model.report.failures import Failures
from functions.benchmark_model.report.text import cut, tied
from functions.benchmark_model.wording import interval, percent

HTML = "report.html"
MAX_BYTES = 2 * 2**20
"""Of report.html; fewer failures are shown until it fits."""
SHOWN_FAILURES = 24
"""Of each task."""

_HERE = Path(__file__).parent


def build(result: Result, items: Iterator[Item], folder: Path) -> dict[str, Any]:
    """Write the report and its pictures; returns their names."""
    pictures = [(chart, charts.accuracy(chart, folder)) for chart in page.charts(result)]
    loss = charts.losses(result.losses, folder) if result.losses else None
    learnt = page.learnt(result)
    names = [picture.name for _, picture in pictures] + ([loss.name] if loss else [])
    for number, shown_pages in enumerate(learnt, 1):
        charts.pages(shown_pages, f"pages{number}", folder)
        names.append(f"pages{number}")
    if result.tasks:
        charts.scores(result.tasks, folder)
        names.append("scores")
    failures = Failures(result.tasks, SHOWN_FAILURES)
    for item in items:
        failures.add(item)
    template = _environment().get_template("report.html.j2")
    limit = SHOWN_FAILURES
    while True:
        shown = failures.shown(limit)
        written = template.render(
            result=result,
            rows=page.rows(result),
            charts=pictures,
            learnt=learnt,
            loss=loss,
            failures=shown,
            failing=[task for task in result.tasks if any(failure.task is task for failure in shown)],
            failed=sum(failures.counts.values()),
            verdicts=page.VERDICTS,
            css=Markup((_HERE / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
        ).encode()
        if len(written) < MAX_BYTES or not limit:
            break
        limit //= 2
    (folder / HTML).write_bytes(written)
    return {
        "report": HTML,
        "bytes": len(written),
        "pictures": [f"{name}.{suffix}" for name in sorted(names) for suffix in ("png", "svg")],
    }


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(cut=cut, tied=tied, facts=page.facts, score=_score, p=_p)
    return environment


def _score(score: Score | jinja2.Undefined) -> str:
    if isinstance(score, jinja2.Undefined):
        return "not asked"
    if score.estimate is None:
        return f"unscored ({score.unscored})"
    return f"{percent(score.estimate.value)} ({interval(score.estimate)}), n = {score.n}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def read_items(path: Path) -> Iterator[Item]:
    """Yield the items of a file of JSON lines."""
    with path.open("rb") as lines:
        for line in lines:
            yield Item.model_validate_json(line)


def main(spec: dict[str, Any]) -> dict[str, Any]:
    """Make the report that the spec asks for and return what was written."""
    result = Result.model_validate_json(Path(spec["result"]).read_bytes())
    items = read_items(Path(spec["items"])) if spec["items"] else iter(())
    return build(result, items, Path(spec["folder"]))


if __name__ == "__main__":
    sys.exit(answer(main))
