"""A pure table: event → the lines that OpenAI's event list shows for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.envelope import derived_id

LAST = 999_999
"""Endings sort behind every epoch."""


@dataclass(frozen=True, slots=True)
class Message:
    """One line of a job's event list."""

    id: str
    job: str
    sort: str
    step: int | None
    level: str
    text: str
    type: str
    data: dict[str, Any] | None


def metrics_id(job: str, step: int) -> str:
    """Return the id of the line that shows one step's metrics, whichever attempt made the step."""
    return _id(job, 5, step)


def _id(key: str, rank: int, part: int) -> str:
    return "ftevent-" + derived_id("ftevent", key, rank, part).replace("-", "")


def messages(
    event_id: str, topic: str, subject: str, epoch: int, attempt: int, data: Mapping[str, Any]
) -> list[Message]:
    """Return the lines for one event, ordered by (epoch, attempt, rank, step) through their `sort` string."""

    def line(
        rank: int,
        text: str,
        *,
        level: str = "info",
        type: str = "message",
        step: int | None = None,
        details: dict[str, Any] | None = None,
        job: str = subject,
        key: str = event_id,
        at: tuple[int, int] = (epoch, attempt),
    ) -> Message:
        part = step if step is not None else 0
        id = _id(key, rank, part)
        sort = f"{at[0]:06d}.{at[1]:06d}.{rank:02d}.{part:010d}.{id[-8:]}"
        return Message(id, job, sort, step, level, text, type, details)

    match topic:
        case "job.created":
            files = f"Validating training file: {data['training_file']}"
            if data["validation_file"]:
                files += f" and validation file: {data['validation_file']}"
            return [line(0, f"Created fine-tuning job: {subject}", at=(0, 0)), line(1, files, at=(0, 0))]
        case "job.queued":
            plan = data["plan"]
            lines = [line(3, "Files validated, moving job to queued state", at=(0, 0))]
            for left_out, verb in ((plan["dropped_rows"], "left out"), (plan["truncated_rows"], "truncated")):
                if left_out:
                    text = f"{left_out} of {plan['rows'] + plan['dropped_rows']} rows are longer than the context"
                    lines.append(line(2, f"{text} and were {verb}", level="warn", at=(0, 0), key=event_id + verb))
            return lines
        case "job.started":
            text = "Fine-tuning job started"
            if data["from_step"]:
                text = f"Fine-tuning job resumed from step {data['from_step']}"
            return [line(4, text)]
        case "job.progressed":
            return [_metrics(line, step, data["total_steps"], subject) for step in data["steps"]]
        case "job.paused":
            return [line(7, f"Fine-tuning job paused at step {data['step']}")]
        case "job.delayed":
            return [line(2, data["message"], level="warn", details={"code": data["code"]})]
        case "job.pause_requested":
            return [line(0, "Fine-tuning job is pausing")]
        case "job.resume_requested":
            return [line(0, "Fine-tuning job is resuming, moving job to queued state")]
        case "model.registered" if data["job"]:
            end = (LAST, 0)
            if ":ckpt-step-" in subject:
                text = f"Checkpoint created at step {data['step']} with Snapshot ID: {subject}"
                return [line(1, text, details={"step": data["step"]}, job=data["job"], step=data["step"], at=end)]
            return [line(2, f"New fine-tuned model created: {subject}", job=data["job"], at=end)]
        case "job.succeeded":
            return [line(9, "The job has successfully completed", at=(LAST, 1))]
        case "job.failed":
            details = {"code": data["code"], "param": data["param"]}
            return [line(9, data["message"], level="error", details=details, at=(LAST, 1))]
        case "job.cancelled":
            text = "Fine tuning process stopping due to job cancellation"
            return [line(9, text, level="warn", at=(LAST, 1))]
        case _:
            return []


def _metrics(line: Any, step: Mapping[str, Any], total: int, job: str) -> Message:
    shown = {name: value for name, value in step.items() if value is not None}
    parts = [f"training loss={step['train_loss']:.2f}"]
    if step["valid_loss"] is not None:
        parts.append(f"validation loss={step['valid_loss']:.2f}")
    if step["full_valid_loss"] is not None:
        parts.append(f"full validation loss={step['full_valid_loss']:.2f}")
    text = f"Step {step['step']}/{total}: {', '.join(parts)}"
    message: Message = line(
        5, text, type="metrics", step=step["step"], details={**shown, "total_steps": total}, key=job
    )
    return message
