"""How Azure and Anyscale Endpoints show what OpenAI's API shows: pure, from OpenAI's objects as served."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, get_args

Object = dict[str, Any]
Dialect = Literal["openai", "anyscale"]
"""Whose shapes the answers to a key have."""
KNOWN: tuple[str, ...] = get_args(Dialect)
OF_ANYSCALE, OF_OPENAI = "eftjob_", "ftjob-"
"""How the ids of jobs begin."""


def azure(shown: Object) -> Object:
    """Return an object as Azure's dated versions show it: what waits is `pending`, and says when it changed last."""
    if shown.get("object") not in ("file", "fine_tuning.job") or "status" not in shown:
        return shown
    waits = shown["status"] in ("uploaded", "validating_files", "queued")
    changed = shown.get("finished_at") or shown["created_at"]
    return {**shown, "status": "pending" if waits else shown["status"], "updated_at": changed}


def anyscale(shown: Object) -> Object:
    """Return an object as Anyscale showed it: a job's id, its times in ISO 8601, its error as text, JSON results first.

    Hyperparameters and trained tokens are there once the job has succeeded. What Anyscale did not show stays.
    """
    if shown.get("object") == "fine_tuning.job.checkpoint":
        return {**shown, "fine_tuning_job_id": _job_id(shown["fine_tuning_job_id"])}
    if shown.get("object") != "fine_tuning.job":
        return shown
    if "status" not in shown:  # it was deleted
        return {**shown, "id": _job_id(shown["id"])}
    done, error = shown["status"] == "succeeded", shown["error"]
    waits = shown["status"] in ("validating_files", "queued")
    return {
        **shown,
        "id": _job_id(shown["id"]),
        "creator_id": shown["temper"]["creator_id"],
        "created_at": _iso(shown["created_at"]),
        "finished_at": _iso(shown["finished_at"]),
        "status": "pending" if waits else shown["status"],
        "result_files": shown["result_files"][::-1],
        "hyperparameters": shown["hyperparameters"] if done else None,
        "trained_tokens": shown["trained_tokens"] if done else None,
        "error": error["message"] if error else None,
    }


def _job_id(id: str) -> str:
    return OF_ANYSCALE + id.removeprefix(OF_OPENAI)


def _iso(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


SHAPES: Mapping[str, Callable[[Object], Object]] = {"azure": azure, "anyscale": anyscale}
"""Dialect → how it shows an object; what is not here is OpenAI's own."""


def spoken(dialect: str, shown: Any) -> Any:
    """Return an answer, one object or a page of them, in a dialect."""
    shape = SHAPES[dialect]
    if not isinstance(shown, dict):
        return shown
    if shown.get("object") != "list":
        return shape(shown)
    page = {**shown, "data": [shape(each) for each in shown["data"]]}
    ends = {"first_id": 0, "last_id": -1}
    return page | {name: page["data"][place]["id"] for name, place in ends.items() if page.get(name)}
