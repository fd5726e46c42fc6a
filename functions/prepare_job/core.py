"""Decides whether a job can be prepared: its files and its base model are joined here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.documents.facts import View
from contracts.envelope import Event, derived_id, make
from contracts.events.jobs import JobDelayed, JobFailed

MIN_ROWS = 10
PURPOSE = "fine-tune"


@dataclass(frozen=True, slots=True)
class Wait:
    """Something is not there yet; without a code the wait needs no explanation."""

    code: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Fail:
    """The job cannot succeed."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """Everything is there."""

    inputs: dict[str, Any]
    """created; training and validation (id, blob, rows, has_tools, shape); base (its registration)."""


Decision = Wait | Fail | Ready


def decide(job: View, files: Mapping[str, View | None], base: View | None, now_ms: int, wait_ms: int) -> Decision:
    """Return what a job's files and base allow: any failure first, then any wait, else it is ready."""
    created = job["created"]
    late = now_ms - job["at"] >= wait_ms
    roles = {"training_file": created["training_file"]}
    if created["validation_file"]:
        roles["validation_file"] = created["validation_file"]
    found = {role: _file(role, name, files.get(name), job["tenant"], late, wait_ms) for role, name in roles.items()}
    model = _model(created["model"], base, late, wait_ms)
    outcomes = [*found.values(), model]
    for outcome in outcomes:
        if isinstance(outcome, Fail):
            return outcome
    waits = [outcome for outcome in outcomes if isinstance(outcome, Wait)]
    if waits:
        return next((wait for wait in waits if wait.code), waits[0])
    training, validation = found["training_file"], found.get("validation_file")
    assert isinstance(training, Ready)
    assert isinstance(model, Ready)
    valid = validation.inputs if isinstance(validation, Ready) else None
    return Ready({"created": created, "training": training.inputs, "validation": valid, "base": model.inputs})


def _file(role: str, name: str, file: View | None, tenant: str, late: bool, wait_ms: int) -> Decision:
    title = "Training file" if role == "training_file" else "Validation file"
    if file is None or file["tenant"] != tenant:  # another tenant's file is no file
        if late:
            return Fail(
                "file_not_found", f"No such File object: {name}. The job waited {wait_ms // 1000} s for it.", role
            )
        text = f"The job waits for the file {name}, of which nothing is known yet, at most {wait_ms // 1000} s."
        return Wait("waiting_for_file", text)
    if file["deleted"]:
        return Fail("file_deleted", f"{title} {name} was deleted. Upload it again and create a new job.", role)
    purpose = file["purpose"]
    if purpose != PURPOSE:
        text = f"{title} {name} has the purpose {purpose[:40]!r}; upload it again with the purpose '{PURPOSE}'."
        return Fail("invalid_file_purpose", text, role)
    if file["rejected"] is not None:
        noun = role.removesuffix("_file")
        text = f"The job failed due to an invalid {noun} file. {file['rejected']['message']}"
        return Fail(f"invalid_{role}", text, role)
    validated = file["validated"]
    if validated is None and file["archive"]:
        text = f"The job waits for the data set that is being made of the documents in {name}."
        return Wait("waiting_for_dataset", text)
    if validated is None:
        return Wait()
    if role == "training_file" and validated["rows"] < MIN_ROWS:
        return too_few(validated["rows"])
    has_tools = validated.get("has_tools", False)  # an assembled data set has none
    shape = validated.get("shape", "chat")
    ready = {"id": name, "blob": validated["blob"], "rows": validated["rows"]}
    return Ready({**ready, "has_tools": has_tools, "shape": shape})


def too_few(rows: int, within: str = "") -> Fail:
    """Return the failure of a training file that has too few rows; `within` says where they were counted."""
    text = f"Training file has {rows} example(s){within}, but must have at least {MIN_ROWS} examples"
    return Fail("invalid_n_examples", text, "training_file")


def _model(name: str, base: View | None, late: bool, wait_ms: int) -> Decision:
    if base is None or base["deleted"]:
        if late:
            text = f"The model `{name}` does not exist or you do not have access to it."
            return Fail("model_not_found", f"{text} The job waited {wait_ms // 1000} s for it.", "model")
        return Wait("waiting_for_model", f"The job waits for the model {name}, at most {wait_ms // 1000} s.")
    if base["kind"] != "base":
        text = f"The model `{name}` is not a base model; jobs start from base models only."
        return Fail("unsupported_model", text, "model")
    return Ready(dict(base))


def failed(job: str, tenant: str, cause: str | None, fail: Fail) -> Event:
    """Return the ending of a job that cannot be prepared."""
    data = JobFailed(code=fail.code, message=fail.message, param=fail.param)
    return make(data, subject=job, tenant=tenant, id=derived_id(job, "end"), cause=cause)


def delayed(job: str, tenant: str, cause: str | None, wait: Wait) -> Event | None:
    """Return the event that says what a job waits for, or None when there is nothing to say."""
    if wait.code is None:
        return None
    data = JobDelayed(code=wait.code, message=wait.message)
    return make(data, subject=job, tenant=tenant, id=derived_id(job, "job.delayed", wait.code), cause=cause)
