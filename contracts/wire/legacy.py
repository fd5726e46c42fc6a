"""The objects of T-Systems LLMHub's own paths, from the views that OpenAI's objects are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from contracts.wire import openai
from contracts.wire.answers import LegacyJob, LegacyJobEvent, LegacyValidation, LegacyVerdict, Level

View = Mapping[str, Any]

ONLINE: dict[str, str] = {"T-Systems Uploading Server": "online", "T-Systems Fine-Tuning Server": "online"}
"""What the root says; LLMHub's upload and fine-tuning servers said a half each."""
STATUS = {"validating_files": "queued", "cancelled": "stopped"}
"""States that LLMHub has other words for."""
LEVELS: Mapping[str, Level] = {"warn": "warning", "info": "info", "error": "error"}
AS_OPENAI = (
    "id",
    "model",
    "fine_tuned_model",
    "organization_id",
    "training_file",
    "validation_file",
    "result_files",
    "trained_tokens",
    "seed",
    "integrations",
    "error",
)
"""What both kinds of job show alike."""


def job(view: View) -> LegacyJob:
    """Return a job; times are ISO 8601 in UTC, and null stands for what Temper does not know."""
    shown = openai.job(view)
    estimated = shown["estimated_finish"]
    delay = view["delay"] or view["failed"]
    own = {
        "object": "fine-tune",
        "created_at": openai.iso(view["created_at"]),
        "finished_at": openai.iso(view["finished_at"]),
        "estimated_finish": None if estimated is None else openai.iso(estimated * 1000),
        "status": STATUS.get(view["status"], view["status"]),
        "hyperparameters": {**shown["hyperparameters"], "eval_batch_size": None},
        "suffix": shown["user_provided_suffix"],
        "validation_ratio": None,
        "message": delay["message"] if delay else None,
    }
    return cast("LegacyJob", {name: shown[name] for name in AS_OPENAI} | own)


def job_event(view: View) -> LegacyJobEvent:
    """Return one line of a job's event list; its time is ISO 8601 in UTC, without offset or fraction."""
    return {
        "id": view["id"],
        "object": "fine-tune.event",
        "created_at": (openai.iso(view["created_at"]) or "")[:19],
        "level": LEVELS[view["level"]],
        "message": view["message"],
        "type": openai.milestone(view) or view["type"],
    }


def validation(view: View) -> LegacyValidation:
    """Return the answer to a request to validate a file, which is done without being asked."""
    message = "Your validation request is in progress. Please use retrieve file api to get update about the "
    message += "validation result after sometime."
    if view["status"] != "uploaded":
        message = "Your validation request is complete. Please use retrieve file api to get the validation result."
    return {"file_id": view["id"], "object": "validation", "message": message}


def verdict(view: View) -> LegacyVerdict:
    """Return what validation found in a file that it has ended with."""
    return {"id": view["id"], "errors": _sentences(view["rejected"]) or ["No errors found"], "object": "file"}


def _sentences(rejected: View | None) -> list[str]:
    if rejected is None:
        return []
    found = [error["message"] for error in rejected.get("errors", ())]
    if (rest := rejected.get("n_errors", 0) - len(found)) > 0:
        found.append(f"{rest} more errors are not listed here; correct these first.")
    return found or [rejected["message"]]
