"""What Weights & Biases is told of a job. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from contracts.documents.facts import View
from contracts.envelope import derived_id
from functions._shared.runs import OF_STEPS, training


def told(job: View, succeeded: bool) -> dict[str, Any] | None:
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
        metrics = {name: value for name, value in each["data"].items() if name not in (*OF_STEPS, "total_steps")}
        lines.append(json.dumps({"step": each["step"], "metrics": metrics}) + "\n")
    return lines
