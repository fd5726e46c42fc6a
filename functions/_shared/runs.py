"""A job as a run of a tracker: names, parameters, the event that leads there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from contracts.documents.facts import View
from contracts.envelope import Event, derived_id, make
from contracts.events.jobs import RunTracked
from contracts.tracking import Ending, Run, RunKind, Tracked, Tracker

ENDINGS: Mapping[str, Ending] = {"job.succeeded": "finished", "job.failed": "failed", "job.cancelled": "killed"}
OF_STEPS = ("step", "tokens")
"""What stands beside a step's metrics."""
LONGEST_NAME = 250
"""Of an experiment: MLflow refuses more than 500 letters, and its databases have room for 256."""
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
        name=f"training {shown_time(job['created_at'])} {created['suffix'] or job['id'][-6:]}",
        started_at=job["created_at"],
        params={"model": created["model"], "training_file": created["training_file"], **params},
        tags={"temper.job": job["id"], "temper.tenant": job["tenant"], "temper.base": plan["base"]["sha256"]},
    )


def tracked(job: View, kind: RunKind, key: str, tracker: Tracker, run: Tracked, cause: str) -> Event:
    """Return the event that leads from a job to one of its runs."""
    data = RunTracked(kind=kind, tracker=tracker, run_id=run.id, url=run.url)
    id = derived_id(job["id"], "tracked", tracker, key)
    return make(data, subject=job["id"], tenant=job["tenant"], id=id, cause=cause)


def shown_time(at: int) -> str:
    """Return a time of ms since the epoch as people read it."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
