"""A job's result files as far as the job is: made of its metrics until it ends, then stored like other files."""

from __future__ import annotations

import hashlib
from typing import Any

from contracts.documents.facts import View
from contracts.events.jobs import StepMetrics
from contracts.ports import Documents
from contracts.results import CSV, PURPOSE, as_csv, as_jsonl, result_ids
from functions.edge.core import visible_events


async def content(documents: Documents, job: View, name: str) -> bytes:
    """Return the bytes of the result file called `name`."""
    where: dict[str, Any] = {"job": job["id"], "tenant": job["tenant"], "type": "metrics"}
    found = await documents.find("job_events", {"$and": [where, visible_events(job["runs"])]}, [("sort", 1)])
    steps = [StepMetrics.model_validate(view["data"]) for view in found]
    if name == CSV:
        return as_csv(steps)
    plan = job["plan"]
    if plan is None:
        return b""
    return as_jsonl(steps, plan["n_epochs"], plan["total_steps"], plan["context_length"] or plan["context"])


async def unfinished(documents: Documents, owner: str, id: str) -> tuple[View, bytes] | None:
    """Return the result file of that id of one of the owner's jobs, as a view of it would be, with its bytes."""
    jobs = await documents.find("jobs", {"results": id, "tenant": owner}, limit=1)
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
