"""Tell Weights & Biases of jobs that asked for it, once each, when it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.documents.facts import View
from contracts.envelope import Event, PoisonError
from contracts.events.jobs import JobSucceeded
from contracts.ports import Child, Documents, Emit, RefusedError, Secrets, UnavailableError
from contracts.tracking import WANDB, wandb_secret
from functions._shared.runs import tracked
from functions.track_wandb import core
from functions.track_wandb.telling import tell


@dataclass(frozen=True, slots=True)
class WandbPorts:
    """The ports, and where runs are written."""

    documents: Documents
    secrets: Secrets
    emit: Emit
    child: Child
    scratch: Path
    wandb: Mapping[str, str]
    """`mode`, online or offline, and `folder`, where the client writes."""


async def on_wandb(event: Event, deps: WandbPorts) -> None:
    """Tell Weights & Biases of a job that has ended, where it asked for it; its key is forgotten then."""
    job = await _job(event.subject, deps.documents)
    if not job["created"].get("integrations"):
        return
    spec, own = core.told(job, event.type == "job.succeeded"), wandb_secret(job["id"])
    try:
        if spec is not None:
            await _tell(event, job, spec, own, deps)
    except RefusedError as error:  # no second try: without the job's own key it would be made with the tenant's
        await deps.secrets.drop(job["tenant"], own)
        raise PoisonError("wandb_refused", str(error)) from error
    await deps.secrets.drop(job["tenant"], own)


async def _tell(event: Event, job: View, spec: Mapping[str, Any], own: str, deps: WandbPorts) -> None:
    tenant = job["tenant"]
    key = await deps.secrets.get(tenant, own) or await deps.secrets.get(tenant, WANDB)
    where = {"job": job["id"], "tenant": tenant, "type": "metrics"}
    steps = await deps.documents.find("job_events", where, [("sort", 1)])
    if isinstance(event.data, JobSucceeded) and (not steps or steps[-1]["step"] < event.data.step):
        raise UnavailableError("mongo", f"the last steps of {job['id']} are not known yet")
    folder, lines = deps.scratch / f"wandb-{job['id']}", core.logged(steps)
    run = await tell(deps.child, folder, {**spec, **deps.wandb}, lines, key or "")
    said = tracked(job, "training", f"{job['id']}/training", "wandb", run, event.id)
    await deps.documents.apply(await deps.emit(said))


async def _job(id: str, documents: Documents) -> View:
    job = await documents.get("jobs", id)
    if job is None:  # topics have no order among each other
        raise UnavailableError("mongo", f"the job {id} is not known yet")
    return job
