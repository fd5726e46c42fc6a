"""OpenAI's objects as served: pure functions from the views of read models. Times in views are milliseconds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from contracts.controls import Reason
from contracts.documents.job_events import BIRTH, LAST
from contracts.envelope import derived_id
from contracts.storage import Kind, StoredBytes
from contracts.wire.answers import (
    Deleted,
    FileValidation,
    JobDetails,
    JobMetrics,
    JobPlan,
    Milestone,
    ModelFile,
    Notification,
    Page,
    StorageUsage,
    StoredKind,
)

View = Mapping[str, Any]
Object = dict[str, Any]
Item = TypeVar("Item", bound=Mapping[str, Any])

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = 253402300799999  # the end of the year 9999, beyond which ISO 8601 and datetime do not go
TRAINING = "fine-tune"
CHECKED = (TRAINING, "batch")
"""The purposes of files whose rows are checked."""
FOUND = (
    "rows",
    "format",
    "encoding",
    "shape",
    "has_tools",
    "version",
    "generator",
    "coverage",
    "held_out_rows",
    "warnings",
)
"""What `validation` shows of rows that were checked, or made of documents."""
REFUSED = ("code", "message", "rows", "n_errors", "coverage")
METRICS = (
    "step",
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)
"""What a checkpoint shows of its step."""
ASKED = ("n_epochs", "batch_size", "learning_rate_multiplier")
_ENDS: Mapping[str, Milestone] = {"info": "succeeded", "error": "failed"}
PLANNED = tuple(JobPlan.__annotations__)
"""What a job shows of its plan, besides the hyperparameters."""


def error(message: str, type: str, param: str | None, code: str | None) -> Object:
    """Return the error object that every failed request is answered with; always all four keys."""
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


def page(data: Sequence[Item], has_more: bool) -> Page[Item]:
    """Return one page of a list; clients go on with `after=<last_id>` while `has_more`."""
    return {
        "object": "list",
        "data": list(data),
        "has_more": has_more,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def deleted(id: str, object: str) -> Deleted:
    """Return what a DELETE is answered with."""
    return {"id": id, "object": object, "deleted": True}


def storage(found: Mapping[Kind, StoredBytes]) -> StorageUsage:
    """Return what is stored, by kind and together; OpenAI shows nothing like it."""
    data: list[StoredKind] = [
        {"kind": kind, "bytes": each.bytes, "objects": each.objects} for kind, each in found.items()
    ]
    return {
        "object": "usage.storage",
        "bytes": sum(each.bytes for each in found.values()),
        "objects": sum(each.objects for each in found.values()),
        "data": data,
    }


def model_file(name: str, size: int, sha256: str) -> ModelFile:
    """Return one file of a model's folder; OpenAI shows nothing like it."""
    return {"object": "model.file", "name": name, "bytes": size, "sha256": sha256}


def seconds(milliseconds: int | None) -> int | None:
    """Return epoch seconds as OpenAI shows times."""
    return None if milliseconds is None else milliseconds // 1000


def iso(milliseconds: int | None) -> str | None:
    """Return a time as ISO 8601 in UTC, with microseconds and offset."""
    if milliseconds is None:
        return None
    return (_EPOCH + timedelta(milliseconds=min(milliseconds, _LAST))).isoformat(timespec="microseconds")


def file(view: View) -> Object:
    """Return a FileObject, with `checksum` (SHA-256), `created_at_iso`, `delay` and `validation` as extras."""
    rejected = _rejected(view)
    expires = view["expires_after"]
    return {
        "id": view["id"],
        "object": "file",
        "bytes": view["blob"]["bytes"],
        "created_at": seconds(view["created_at"]),
        "created_at_iso": iso(view["created_at"]),
        "expires_at": view["created_at"] // 1000 + expires if expires else None,
        "filename": view["filename"],
        "purpose": view["purpose"],
        "status": "processed" if view["status"] == "error" and rejected is None else view["status"],
        "status_details": rejected["message"] if rejected else None,
        "delay": view.get("delay"),
        "checksum": view["blob"]["sha256"],
        "validation": _validation(view),
    }


def _rejected(view: View) -> Mapping[str, Any] | None:
    """Return why the file cannot be used; what is wrong with rows is nothing to a file that is not for training."""
    rejected: Mapping[str, Any] | None = view["rejected"]
    if rejected is None or view["purpose"] in CHECKED or view["archive"] or rejected["param"] != "file":
        return rejected
    return None


def _validation(view: View) -> FileValidation:
    validated, rejected = view["validated"], _rejected(view)
    shown: FileValidation = {
        "object": "validation",
        "is_checked": True,
        "is_valid": False,
        "message": "",
        "errors": {},
        "is_generated_dataset": False,
    }
    if rejected is not None:
        errors: dict[str, list[Any]] = {}
        for each in rejected.get("errors", ()):
            errors.setdefault(str(each["line"]), []).append(each)
        return cast("FileValidation", {**shown, **_named(rejected, REFUSED), "errors": errors})
    if view["purpose"] not in CHECKED:
        message = f"A file with the purpose '{view['purpose']}' is stored as it is; only rows for training are checked."
        return {**shown, "is_checked": False, "message": message}
    if validated is not None:
        made = f"A data set of {validated['rows']} rows was made of the documents."
        message = made if view["archive"] else f"Every one of the {validated['rows']} rows was checked."
        valid = {"is_valid": True, "message": message, "is_generated_dataset": view["archive"]}
        return cast("FileValidation", {**shown, **valid, **_named(validated, FOUND)})
    return {**shown, "is_checked": False, "message": "File is not yet validated."}


def _named(data: View, names: Sequence[str]) -> Object:
    return {name: data[name] for name in names if name in data}


def derived_seed(job: str) -> int:
    """Return the seed of a job that asked for none: fixed by its id, below 2**31."""
    return int.from_bytes(hashlib.sha256(job.encode()).digest()[:4], "big") >> 1


def job(view: View) -> Object:
    """Return a FineTuningJob; what OpenAI does not know stands under `temper`."""
    created, plan, succeeded, failed = view["created"], view["plan"], view["succeeded"], view["failed"]
    decided = plan or created["hyperparameters"]
    length = decided.get("context_length") or (plan["context"] if plan else "auto")
    hyperparameters = {name: decided[name] for name in ASKED} | {"context_length": length}
    seed = plan["seed"] if plan else created["seed"]
    return {
        "id": view["id"],
        "object": "fine_tuning.job",
        "created_at": seconds(view["created_at"]),
        "created_at_iso": iso(view["created_at"]),
        "finished_at": seconds(view["finished_at"]),
        "estimated_finish": _estimated_finish(view),
        "model": created["model"],
        "fine_tuned_model": succeeded["fine_tuned_model"] if succeeded else None,
        "organization_id": view["tenant"],
        "status": view["status"],
        "hyperparameters": hyperparameters,
        "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
        "training_file": created["training_file"],
        "validation_file": created["validation_file"],
        "result_files": list(succeeded["result_files"]) if succeeded else view["results"],
        "trained_tokens": succeeded["trained_tokens"] if succeeded else None,
        "seed": seed if seed is not None else derived_seed(view["id"]),
        "integrations": [_integration(each, view["tracked"]) for each in created.get("integrations", ())],
        "metadata": created["metadata"] or None,
        "error": {name: failed[name] for name in ("code", "message", "param")} if failed else None,
        "user_provided_suffix": created["suffix"],
        "usage_metrics": None,
        "shared_with_openai": False,
        "temper": _details(view),
    }


def _details(view: View) -> JobDetails:
    created, plan = view["created"], view["plan"]
    return {
        "creator_id": created.get("creator_id"),
        "delay": view["delay"],
        "warnings": list(view.get("warnings") or ()),
        "pausing": pausing(view),
        "tuning": (plan or created)["tuning"],
        "overlong": created["overlong"],
        "chat_template_kwargs": (plan or created).get("chat_template_kwargs"),
        "attempts": len(view["runs"]),
        "tracked": view["tracked"],
        "plan": cast("JobPlan", {name: plan.get(name) for name in PLANNED}) if plan else None,
    }


def webhook_endpoint(view: View, secret: str | None = None) -> Object:
    """Return a WebhookEndpoint; its signing secret is only shown when it is new."""
    shown = {
        "id": view["id"],
        "object": "webhook_endpoint",
        "created_at": seconds(view["created_at"]),
        "updated_at": seconds(view["updated_at"]),
        "name": view["name"],
        "url": view["url"],
        "event_types": view["event_types"],
        "signing_secret_hint": f"whsec_…{view['hint']}",
    }
    return shown if secret is None else {**shown, "signing_secret": secret}


def notification(view: View, delay: Reason | None = None) -> Notification:
    """Return who is told of what, and whether they were; OpenAI shows nothing like it."""
    said, failed = view["requested"], view["failed"]
    return {
        "id": view["id"],
        "object": "notification",
        "created_at": view["created_at"] // 1000,
        "finished_at": seconds(view["finished_at"]),
        "status": "failed" if failed else "delivered" if view["delivered"] else "queued",
        "event_type": said["what"],
        "fine_tuning_job_id": said["job"],
        "channel": said["channel"],
        "to": said["to"],
        "error": failed,
        "delay": delay,
    }


def _integration(asked: Mapping[str, Any], tracked: Sequence[Mapping[str, Any]]) -> Object:
    """Return an integration with its run, once there is one; a key is never part of it."""
    runs = [each["run_id"] for each in tracked if each["tracker"] == asked["type"]]
    return {"type": asked["type"], "wandb": {**asked["wandb"], **({"run_id": runs[0]} if runs else {})}}


def pausing(view: View) -> bool:
    """Return whether a pause was requested last and the job does not rest yet."""
    asked = [request for request in view["requests"] if request["topic"] != "job.cancel_requested"]
    if view["ended"] or view["status"] == "paused" or not asked:
        return False
    last: Mapping[str, Any] = max(asked, key=lambda request: (request["epoch"], request["at"]))
    return bool(last["topic"] == "job.pause_requested")


def _estimated_finish(view: View) -> int | None:
    plan, runs = view["plan"], view["runs"]
    if view["status"] != "running" or plan is None or not runs:
        return None
    run = max(runs, key=lambda run: (run["epoch"], run["attempt"]))
    left = plan["total_steps"] - run["from_step"]
    last = view.get("last")
    if last is not None and last["step"] > run["from_step"]:  # what steps took so far is truer than what was planned
        return int((run["at"] + (last["created_at"] - run["at"]) * left / (last["step"] - run["from_step"])) / 1000)
    return int(run["at"] / 1000 + plan["seconds"] * left / max(plan["total_steps"], 1))


def job_event(view: View) -> Object:
    """Return one line of a job's event list."""
    return {
        "id": view["id"],
        "object": "fine_tuning.job.event",
        "created_at": seconds(view["created_at"]),
        "created_at_iso": iso(view["created_at"]),
        "level": view["level"],
        "message": view["message"],
        "type": view["type"],
        "event": milestone(view),
        "data": view["data"] or {},
    }


def step_metrics(view: View) -> JobMetrics:
    """Return what was measured at one step of a job; losses are in nats, accuracies in 0..1."""
    measured = {name: value for name, value in (view["data"] or {}).items() if name != "total_steps"}
    id = str(view["step"])  # so that a page goes on after a step
    head = {"id": id, "object": "fine_tuning.job.metrics", "created_at": seconds(view["created_at"])}
    return cast("JobMetrics", head | measured)


def milestone(view: View) -> Milestone | None:
    """Return which turn of its job an event line tells: submitted, start, succeeded, failed, stopped; None: no turn."""
    first, second, rank = (int(part) for part in view["sort"].split(".")[:3])
    if (first, second, rank) == (*BIRTH, 0):  # a request from outside has no epoch either
        return "submitted" if view["message"].startswith("Created") else None
    if (first, rank) == (LAST, 9):
        return _ENDS.get(view["level"], "stopped")
    return "start" if rank == 4 and first < LAST else None


def checkpoint_id(model: str) -> str:
    """Return the id of the checkpoint that is called by the name `model`."""
    return "ftckpt_" + derived_id("ftckpt", model).replace("-", "")


def checkpoint(view: View) -> Object:
    """Return a checkpoint of a job from the view of the model that it can be called as."""
    metrics = view["metrics"] or {}
    return {
        "id": checkpoint_id(view["id"]),
        "object": "fine_tuning.job.checkpoint",
        "created_at": seconds(view["created_at"]),
        "fine_tuned_model_checkpoint": view["id"],
        "fine_tuning_job_id": view["job"],
        "step_number": view["step"],
        "metrics": {name: metrics[name] for name in METRICS if metrics.get(name) is not None},
    }


def model(view: View) -> Object:
    """Return a Model; `root` and `parent` say what it was tuned from, as vLLM shows them."""
    return {
        "id": view["id"],
        "object": "model",
        "created": seconds(view["created_at"]),
        "owned_by": view["owned_by"],
        "root": view["base_name"] or view["id"],
        "parent": view["base_name"],
        "context": view["context"],
        "job": view["job"],
        "temper": {"kind": view["kind"], "dimensions": view["dimensions"]},
    }
