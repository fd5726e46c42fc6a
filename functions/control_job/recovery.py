"""What a job's control document was, as far as the log says: for when MongoDB was lost or put back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contracts.controls import KEPT_CHECKPOINTS
from contracts.documents import View


def control_of(job: View, checkpoints: Sequence[View]) -> dict[str, Any]:
    """Return the fields of the control document of a job with these checkpoints (views, oldest first)."""
    epochs = {request["epoch"]: request for request in job["requests"] if request["epoch"]}
    latest = epochs[max(epochs)] if epochs else None
    visible = kept([each for each in checkpoints if not hidden(each, job["runs"])])
    return {
        "stage": "train" if job["plan"] else "prepare",
        "inputs": {"created": job["created"], "plan": job["plan"]},
        "ended": job["ended"],
        "ready": job["plan"] is not None,
        "checkpoints": [
            {
                "step": each["step"],
                "manifest": each["manifest"],
                "epoch_end": each["epoch_end"],
                "fence": each["attempt"],
            }
            for each in visible
        ],
        "epoch": max([1, *epochs, *(run["epoch"] for run in job["runs"])]),
        "desired": "pause" if latest and latest["topic"] == "job.pause_requested" else "run",
        "requests": [{"id": each["id"], "epoch": epoch} for epoch, each in sorted(epochs.items())],
        "fence": max([0, *(run["attempt"] for run in job["runs"]), *(each["attempt"] for each in checkpoints)]),
    }


def kept(checkpoints: Sequence[View]) -> list[View]:
    """Return those of `checkpoints`, oldest first, that a control document keeps: the newest of both kinds."""
    ends = [each for each in checkpoints if each["epoch_end"]][-KEPT_CHECKPOINTS:]
    others = [each for each in checkpoints if not each["epoch_end"]][-KEPT_CHECKPOINTS:]
    return [*others, *ends]


def hidden(item: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a newer attempt started before this step, so that what an older one said of it no longer counts."""
    mine = (item["epoch"], item["attempt"])
    return any((run["epoch"], run["attempt"]) > mine and item["step"] > run["from_step"] for run in runs)
