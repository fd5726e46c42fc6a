"""What becomes of a job of another server: pure."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Object = dict[str, Any]
State = Literal["came", "was here", "would come", "gone", "left out", "refused"]
MARK = "imported_job"
"""The metadata of a job that says which one it was."""
MOST_PAIRS, MOST_CHARACTERS = 16, 512
TUNED = ("n_epochs", "batch_size", "learning_rate_multiplier")
METRICS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table at the end."""

    what: str
    there: str
    """Its id at the other server."""
    here: str
    """Its id here; empty: it has none."""
    state: State
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job to create."""

    body: Object
    differs: tuple[str, ...]


def hyperparameters(job: Mapping[str, Any]) -> Object:
    """Return what is known of them: servers say null for some methods, and `auto` for what they chose."""
    method = job.get("method") or {}
    kind = method.get("type") or "supervised"
    said = (method.get(kind) or {}).get("hyperparameters") or job.get("hyperparameters") or {}
    return {name: said[name] for name in TUNED if said.get(name) is not None}


def left_out(job: Mapping[str, Any], files: Mapping[str, str]) -> str | None:
    """Return why a job is not created here; None: it is."""
    method = (job.get("method") or {}).get("type") or "supervised"
    if method != "supervised":
        return f"the method {method!r} is not served here"
    if job.get("training_file") not in files:
        return f"its training file {job.get('training_file')} is not given out any more"
    return None


def wanted(
    job: Mapping[str, Any], base: str, files: Mapping[str, str], origin: str, metrics: Mapping[str, Any]
) -> Wanted:
    """Return the same job on a base of one's own; `files`: id there → id here."""
    differs = [f"base {base} instead of {job.get('model')}"]
    body: Object = {"model": base, "training_file": files[job["training_file"]]}
    validation = job.get("validation_file") or ""
    if validation in files:
        body["validation_file"] = files[validation]
    elif validation:
        differs.append(f"without its validation file {validation}, which is gone")
    if suffix := job.get("user_provided_suffix") or _suffix(job.get("fine_tuned_model")):
        body["suffix"] = suffix
    if type(job.get("seed")) is int:
        body["seed"] = job["seed"]
    if tuned := hyperparameters(job):
        body["method"] = {"type": "supervised", "supervised": {"hyperparameters": tuned}}
    else:
        differs.append("hyperparameters are chosen here: none are told")
    if job.get("integrations"):
        differs.append("without its integrations, whose keys are not given out")
    own = {name: value for name, value in (job.get("metadata") or {}).items() if not name.startswith("imported_")}
    if len(own) == MOST_PAIRS:
        own.popitem()
        differs.append("without the last pair of its metadata, so that there is room for its id")
    body["metadata"] = own | dict(list(_record(job, origin, metrics).items())[: MOST_PAIRS - len(own)])
    return Wanted(body, tuple(differs))


def _suffix(model: object) -> str:
    """Return the suffix in a tuned model's name, `ft:base:organisation:suffix:id`."""
    parts = str(model or "").split(":")
    return parts[3] if len(parts) >= 5 and parts[0] == "ft" else ""


def _record(job: Mapping[str, Any], origin: str, metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return what stays known of the job, the most needed first."""
    found = {
        MARK: job["id"],
        "imported_from": origin,
        "imported_fine_tuned_model": job.get("fine_tuned_model"),
        "imported_model": job.get("model"),
        "imported_training_file": job.get("training_file"),
        "imported_validation_file": job.get("validation_file"),
        "imported_hyperparameters": hyperparameters(job) or None,
        "imported_metrics": dict(metrics) or None,
        "imported_created_at": job.get("created_at"),
        "imported_trained_tokens": job.get("trained_tokens"),
    }
    return {name: _text(value) for name, value in found.items() if value is not None}


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return text[:MOST_CHARACTERS]


def results(content: bytes) -> bytes:
    """Return a results file as it is meant: OpenAI hands its CSV out as base64."""
    try:
        plain = base64.b64decode(content.strip(), validate=True)
        plain.decode()
    except (binascii.Error, ValueError):
        return content
    return plain or content


def last_metrics(content: bytes) -> Object:
    """Return the numbers of the last step in a results file, CSV or JSON lines; empty: it holds none."""
    text = content.decode(errors="replace").strip()
    if text.startswith("{"):
        rows = [_row(line) for line in text.splitlines()[-1:]]
    else:
        rows = list(csv.DictReader(io.StringIO(text)))[-1:]
    return {name: row[name] for row in rows for name in METRICS if row.get(name) not in (None, "")}


def _row(line: str) -> Object:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}
