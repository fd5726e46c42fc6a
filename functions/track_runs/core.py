"""What is written of a job into a tracker: names, parameters, metrics, and the card of what came out. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from contracts.documents.facts import View
from contracts.envelope import Event, derived_id, make
from contracts.events.benchmarks import BenchmarkCompleted
from contracts.events.jobs import JobProgressed, RunTracked
from contracts.tracking import Ending, Point, Run, RunKind, Tracked, Tracker

REPORT = "dataset_report.json"
"""Of a training run: it quotes rows."""
TOPICS = (
    "file.deleted",
    "job.queued",
    "job.progressed",
    "job.succeeded",
    "job.failed",
    "job.cancelled",
    "benchmark.completed",
)
ENDINGS: Mapping[str, Ending] = {"job.succeeded": "finished", "job.failed": "failed", "job.cancelled": "killed"}
LONGEST_NAME = 250
"""Of an experiment: MLflow refuses more than 500 letters, and its databases have room for 256."""
_OF_STEPS = ("step", "tokens")
_PLANNED = (
    "n_epochs", "batch_size", "learning_rate", "learning_rate_multiplier", "total_steps", "warmup_steps", "seed",
    "rows", "valid_rows", "tokens", "label_tokens", "longest_row", "context", "context_length",
    "template_sha256")  # fmt: skip


def experiment(job: View, file: View | None) -> str:
    """Return the name of the experiment of a job's model and data set."""
    created = job["created"]
    data = file["filename"] if file else "deleted"
    begin, end = f"{job['tenant']}/{created['model']}/", f" ({created['training_file']})"
    room = max(1, LONGEST_NAME - len(begin) - len(end))
    return f"{begin}{data if len(data) <= room else data[: room - 1] + '…'}{end}"


def training(job: View, file: View | None) -> Run:
    """Return the run of a job's training."""
    created, plan = job["created"], job["plan"]
    params = {name: str(plan[name]) for name in _PLANNED}
    params |= {f"tuning.{name}": str(value) for name, value in plan["tuning"].items()}
    params |= {f"reason.{name}": reason[:500] for name, reason in plan["reasons"].items()}
    return Run(
        experiment=experiment(job, file),
        key=f"{job['id']}/training",
        kind="training",
        name=f"training {_time(job['created_at'])} {created['suffix'] or job['id'][-6:]}",
        started_at=job["created_at"],
        params={"model": created["model"], "training_file": created["training_file"], **params},
        tags={"temper.job": job["id"], "temper.tenant": job["tenant"], "temper.base": plan["base"]["sha256"]},
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
        name=f"benchmark {_time(view['created_at'])} {job['created']['suffix'] or job['id'][-6:]}",
        started_at=view["created_at"],
        params={**suite, **models},
        tags={"temper.job": job["id"], "temper.tenant": job["tenant"], "temper.benchmark": view["id"]},
    )


def steps(event: Event, data: JobProgressed) -> Iterator[Point]:
    """Yield the metrics of each step."""
    for each in data.steps:
        for name, value in each.model_dump(exclude_none=True).items():
            if name not in _OF_STEPS:
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


def wandb(job: View, succeeded: bool) -> dict[str, Any] | None:
    """Return what Weights & Biases is told of a job; None where nobody asked, or nothing was planned."""
    asked = next((each["wandb"] for each in job["created"].get("integrations", ())), None)
    if asked is None or job["plan"] is None:
        return None
    run = training(job, None)
    return {
        "id": derived_id(job["id"], "wandb").replace("-", "")[:16],
        "project": asked["project"],
        "entity": asked["entity"],
        "name": asked["name"] or run.name,
        "tags": list(asked["tags"]),
        "config": {**run.params, "temper.job": job["id"]},
        "succeeded": succeeded,
    }


def logged(events: Sequence[View]) -> list[str]:
    """Return a line for each step's metrics."""
    lines = []
    for each in events:
        metrics = {name: value for name, value in each["data"].items() if name not in (*_OF_STEPS, "total_steps")}
        lines.append(json.dumps({"step": each["step"], "metrics": metrics}) + "\n")
    return lines


def tracked(job: View, kind: RunKind, key: str, tracker: Tracker, run: Tracked, cause: str) -> Event:
    """Return the event that leads from a job to one of its runs."""
    data = RunTracked(kind=kind, tracker=tracker, run_id=run.id, url=run.url)
    id = derived_id(job["id"], "tracked", tracker, key)
    return make(data, subject=job["id"], tenant=job["tenant"], id=id, cause=cause)


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
