"""A pure table: event → the lines that OpenAI's event list shows for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from contracts.envelope import derived_id

BIRTH = (0, 0)
LAST = 999_999
"""Endings sort behind every epoch."""
METRICS_RANK = 5
Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class JobMessage:
    """One line of a job's event list."""

    id: str
    job: str
    sort: str
    step: int | None
    level: str
    text: str
    type: str
    data: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class _Line:
    """What the table says; identity and order are added around it."""

    rank: int
    text: str
    level: str = "info"
    type: str = "message"
    step: int | None = None
    data: dict[str, Any] | None = None
    at: tuple[int, int] | None = None
    """(epoch, attempt) to sort by; None: the event's own."""
    job: str | None = None
    key: str | None = None
    """What its id derives from; None: the event's id."""


@lru_cache(maxsize=8192)  # asked for each step of a batch, for each of its steps
def metrics_id(job: str, step: int) -> str:
    """Return the id of the line that shows one step's metrics, whichever attempt made the step."""
    return _id(job, METRICS_RANK, step)


def messages(event_id: str, topic: str, subject: str, epoch: int, attempt: int, data: Data) -> list[JobMessage]:
    """Return the lines for one event, ordered by (epoch, attempt, rank, step) through their `sort` string."""
    found = []
    for line in TABLE[topic](subject, data) if topic in TABLE else ():
        part = line.step or 0
        identity = _id(line.key or event_id, line.rank, part)
        first, second = line.at or (epoch, attempt)
        sort = f"{first:06d}.{second:06d}.{line.rank:02d}.{part:010d}.{identity[-8:]}"
        job = line.job or subject
        found.append(JobMessage(identity, job, sort, line.step, line.level, line.text, line.type, line.data))
    return found


def _id(key: str, rank: int, part: int) -> str:
    return "ftevent-" + derived_id("ftevent", key, rank, part).replace("-", "")


def _created(job: str, data: Data) -> list[_Line]:
    files = f"Validating training file: {data['training_file']}"
    if data["validation_file"]:
        files += f" and validation file: {data['validation_file']}"
    return [_Line(0, f"Created fine-tuning job: {job}", at=BIRTH), _Line(1, files, at=BIRTH)]


def _queued(job: str, data: Data) -> list[_Line]:
    plan = data["plan"]
    rows = plan["rows"] + plan["dropped_rows"]
    lines = [_Line(3, "Files validated, moving job to queued state", at=BIRTH)]
    for rank, count, verb in ((1, plan["dropped_rows"], "left out"), (2, plan["truncated_rows"], "truncated")):
        if count:
            text = f"{count} of {rows} rows are longer than the model's context and were {verb}"
            lines.append(_Line(2, text, "warn", at=BIRTH, key=f"{job} {rank}"))
    if (taken := plan.get("rows_per_epoch")) is not None and taken < plan["rows"]:
        text = f"An epoch takes {taken} of {plan['rows']} rows: those that are variants of each other take turns"
        lines.append(_Line(2, text, at=BIRTH, key=f"{job} 3"))
    return lines


def _started(job: str, data: Data) -> list[_Line]:
    if data["from_step"]:
        return [_Line(4, f"Fine-tuning job resumed from step {data['from_step']}")]
    return [_Line(4, "Fine-tuning job started")]


def _progressed(job: str, data: Data) -> list[_Line]:
    lines = []
    for step in data["steps"]:
        losses = [f"training loss={step['train_loss']:.2f}"]
        for name, shown in (("valid_loss", "validation loss"), ("full_valid_loss", "full validation loss")):
            if step[name] is not None:
                losses.append(f"{shown}={step[name]:.2f}")
        text = f"Step {step['step']}/{data['total_steps']}: {', '.join(losses)}"
        metrics = {name: value for name, value in step.items() if value is not None}
        metrics["total_steps"] = data["total_steps"]
        lines.append(_Line(METRICS_RANK, text, type="metrics", step=step["step"], data=metrics, key=job))
    return lines


def _registered(name: str, data: Data) -> list[_Line]:
    if not data["job"]:
        return []
    end = (LAST, 0)
    if ":ckpt-step-" not in name:
        return [_Line(2, f"New fine-tuned model created: {name}", job=data["job"], at=end)]
    text = f"Checkpoint created at step {data['step']} with Snapshot ID: {name}"
    return [_Line(1, text, step=data["step"], data={"step": data["step"]}, job=data["job"], at=end)]


def _failed(job: str, data: Data) -> list[_Line]:
    details = {"code": data["code"], "param": data["param"]}
    return [_Line(9, data["message"], "error", data=details, at=(LAST, 1))]


TABLE: dict[str, Callable[[str, Data], list[_Line]]] = {
    "job.created": _created,
    "job.queued": _queued,
    "job.delayed": lambda job, data: [_Line(2, data["message"], "warn", data={"code": data["code"]})],
    "job.pause_requested": lambda job, data: [_Line(0, "Fine-tuning job is pausing")],
    "job.resume_requested": lambda job, data: [_Line(0, "Fine-tuning job is resuming, moving job to queued state")],
    "job.started": _started,
    "job.progressed": _progressed,
    "job.paused": lambda job, data: [_Line(7, f"Fine-tuning job paused at step {data['step']}")],
    "model.registered": _registered,
    "job.succeeded": lambda job, data: [_Line(9, "The job has successfully completed", at=(LAST, 1))],
    "job.failed": _failed,
    "job.cancelled": lambda job, data: [
        _Line(9, "Fine tuning process stopping due to job cancellation", "warn", at=(LAST, 1))
    ],
}
"""Topic → (subject, body) → lines."""
