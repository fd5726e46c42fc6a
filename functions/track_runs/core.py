"""What is written of a job into a tracker: names, parameters, metrics, and the card of what came out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from contracts.documents.facts import View
from contracts.envelope import Event
from contracts.events.benchmarks import BenchmarkCompleted
from contracts.events.jobs import JobProgressed
from contracts.tracking import Point, Run
from functions._shared.runs import OF_STEPS, experiment, shown_time

REPORT = "dataset_report.json"
"""Of a training run: it quotes rows."""
TOPICS = (
    "file.deleted",
    "job.deleted",
    "job.queued",
    "job.progressed",
    "job.succeeded",
    "job.failed",
    "job.cancelled",
    "benchmark.completed",
)


def benchmark(job: View, file: View | None, view: View) -> Run:
    """Return the run of one benchmark of a job's model."""
    requested = view["requested"]
    suite = {name: str(value) for name, value in requested["suite"].items() if name != "grid"}
    models = {f"model.{side}": model["name"] for side, model in requested["models"].items()}
    return Run(
        experiment=experiment(job, file),
        key=f"{job['id']}/{view['id']}",
        kind="benchmark",
        name=f"benchmark {shown_time(view['created_at'])} {job['created']['suffix'] or job['id'][-6:]}",
        started_at=view["created_at"],
        params={**suite, **models},
        tags={"temper.job": job["id"], "temper.tenant": job["tenant"], "temper.benchmark": view["id"]},
    )


def steps(event: Event, data: JobProgressed) -> Iterator[Point]:
    """Yield the metrics of each step."""
    for each in data.steps:
        for name, value in each.model_dump(exclude_none=True).items():
            if name not in OF_STEPS:
                yield Point(name, value, each.step, event.at)


def scores(event: Event, data: BenchmarkCompleted) -> Iterator[Point]:
    """Yield each task's score of base and tuned, and how far they are apart with its interval."""
    for score in data.scores:
        found = {"base": score.base, "tuned": score.tuned, "n": score.n, "unscored": score.unscored}
        if score.difference:
            found |= dict(zip(("difference", "difference_low", "difference_high"), score.difference, strict=True))
        for name, value in found.items():
            if value is not None:
                yield Point(f"{score.name}.{score.metric}.{name}", float(value), 0, event.at)


def card(job: View, made: Mapping[str, Any]) -> str:
    """Return the model card of what a job made, in Markdown."""
    plan, created = job["plan"], job["created"]
    lines = [
        f"# {made['fine_tuned_model']}",
        "",
        f"Tuned from `{created['model']}` (manifest {plan['base']['sha256'][:12]}) on `{created['training_file']}` by "
        f"the job `{job['id']}`.",
        "",
        "| | |",
        "|---|---|",
        f"| Weights | `{made['manifest']['key']}`, SHA-256 of the manifest {made['manifest']['sha256']} |",
        f"| What was trained | {plan['tuning']['kind']}, rank {plan['tuning']['r']}, alpha {plan['tuning']['alpha']} |",
        f"| Rows, epochs, steps | {plan['rows']}, {plan['n_epochs']}, {made['step']} |",
        f"| Tokens trained | {made['trained_tokens']} |",
        f"| Learning rate, batch | {plan['learning_rate']:g}, {plan['batch_size']} |",
        f"| Seed | {plan['seed']} |",
    ]
    return "\n".join(lines) + "\n"
