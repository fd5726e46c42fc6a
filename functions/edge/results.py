"""A job's result files as far as the job is: made of its metrics until it ends, then stored like other files."""

from __future__ import annotations

import hashlib
from typing import Any

from contracts.documents.facts import View
from contracts.events.jobs import StepMetrics
from contracts.ports import Documents
from contracts.results import CSV, PURPOSE, as_csv, as_jsonl, result_ids
from functions.edge.context import in_windows
from functions.edge.core import visible_events


async def content(documents: Documents, job: View, name: str) -> bytes:
    """Return the bytes of the result file called `name`."""
    where: dict[str, Any] = {"job": job["id"], "tenant": job["tenant"], "type": "metrics"}
    visible = {"$and": [where, visible_events(job["runs"])]}
    head, plan = as_csv([]) if name == CSV else b"", job["plan"]
    pieces = [head]
    async for window in in_windows(documents, "job_events", visible, [("sort", 1)]):
        steps = [StepMetrics.model_validate(view["data"]) for view in window]
        if name == CSV:
            pieces.append(as_csv(steps).removeprefix(head))
        elif plan is not None:
            length = plan["context_length"] or plan["context"]
            pieces.append(as_jsonl(steps, plan["n_epochs"], plan["total_steps"], length))
    return b"".join(pieces)


async def unfinished(documents: Documents, owner: str, id: str) -> tuple[View, bytes] | None:
    """Return the result file of that id of one of the owner's jobs, as a view of it would be, with its bytes."""
    jobs = await documents.find("jobs", {"results": id, "tenant": owner, "deleted": False}, limit=1)
    if not jobs:
        return None
    (job,) = jobs
    name = next(name for name, each in result_ids(job["id"]).items() if each == id)
    data = await content(documents, job, name)
    view = {
        "id": id,
        "tenant": owner,
        "created_at": job["started_at"],
        "filename": name,
        "purpose": PURPOSE,
        "archive": False,
        "blob": {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()},
        "expires_after": None,
        "status": "processed" if job["ended"] else "uploaded",
        "validated": None,
        "rejected": None,
    }
    return view, data
