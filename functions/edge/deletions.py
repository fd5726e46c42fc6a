"""Deletes a job with all that it made: what it was and scored stays in the log, its bytes do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from contracts.envelope import derived_id, make
from contracts.events.files import FileDeleted
from contracts.events.jobs import JobDeleted
from contracts.events.models import ModelDeleted
from contracts.tracking import wandb_secret
from functions.edge.context import deps, owned, publish, tenant


async def delete_job(request: Request, job: Mapping[str, Any]) -> dict[str, list[str]]:
    """Say that its models, its result files and at last the job are gone, and erase them; returns those names.

    Who is interrupted asks again: what was said is not said twice.
    """
    owner, id, ports = tenant(request), job["id"], deps(request)
    models = await ports.documents.find("models", {"tenant": owner, "job": id}, [("step", 1)])
    for model in models:
        if not model["deleted"]:
            said, event = ModelDeleted(reason="its job was deleted"), derived_id(owner, model["id"], "model.deleted")
            await publish(request, make(said, subject=model["id"], tenant=owner, id=event))
    files = []
    for name in job["results"]:
        if (view := await owned(request, "files", name)) is not None:
            files.append(name)
            if not view["deleted"]:
                event = derived_id(name, "file.deleted")
                await publish(request, make(FileDeleted(), subject=name, tenant=owner, id=event))
            await ports.blobs.delete(f"{owner}/{name}/")
    await ports.secrets.drop(owner, wandb_secret(id))
    if not job["deleted"]:
        await publish(request, make(JobDeleted(), subject=id, tenant=owner, id=derived_id(id, "job.deleted")))
    await ports.blobs.delete(f"{owner}/{id}/")
    return {"models": [model["id"] for model in models], "files": files}
