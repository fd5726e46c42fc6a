"""Preparation under a lease: rows and base come to this machine, a child makes tokens of them, the plan is fixed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from contracts.blobs import BlobRef
from contracts.controls import Claim
from contracts.envelope import Event, derived_id, make
from contracts.events import Payload
from contracts.events.jobs import JobCreated, JobFailed, JobQueued
from contracts.events.models import ModelRegistered
from contracts.ports import BlobNotFoundError, Blobs, Child, Lease
from contracts.wire.openai import derived_seed
from functions._shared.model_files import ModelFiles, UnusableModelError
from functions._shared.stage import ChildStage, NoResultError, run_stage
from functions.prepare_job.core import Fail, failed
from functions.prepare_job.plan import StoredTokens, choose, make_plan, row_length

TOKENISE = "functions.prepare_job.tokenise"
SECONDS = 3600.0


def _unusable(code: str, message: str, param: str | None) -> NoResultError:
    return NoResultError(JobFailed(code=code, message=message, param=param))


async def work(
    lease: Lease,
    blobs: Blobs,
    child: Child,
    scratch: Path,
    cache: Path,
    device: str = "auto",
    threads: int = 0,
    dtype: str = "auto",
) -> list[Event]:
    """Return `job.queued` with the plan of the job that `lease` holds, or the `job.failed` that says why there is none.

    `device`, `threads` and `dtype` are those of training, whose time is measured here.
    """
    control = lease.claim.control
    prepare = partial(_prepare, files=ModelFiles(blobs, cache), device=device, threads=threads, dtype=dtype)
    ending = await run_stage(lease, blobs, child, scratch, prepare)
    name = "job.queued" if isinstance(ending, JobQueued) else "end"
    return [make(ending, subject=control.subject, tenant=control.tenant, id=derived_id(control.subject, name))]


async def _prepare(stage: ChildStage, files: ModelFiles, device: str, threads: int, dtype: str) -> Payload:
    inputs = stage.control.inputs
    created, base = JobCreated.model_validate(inputs["created"]), ModelRegistered.model_validate(inputs["base"])
    length = row_length(created, base)
    if length > base.context:
        text = f"The job's `context_length` is {length}, but {created.model} reads {base.context} tokens."
        raise _unusable("invalid_hyperparameters", text, "hyperparameters.context_length")
    try:
        async with files.hold(base.manifest) as model:
            return await _queued(stage, created, base, model, device, threads, dtype)
    except UnusableModelError as error:
        text = f"The base model {created.model} is not stored as it was registered ({error}). Register it again."
        raise _unusable("model_unusable", text, "model") from error


async def _queued(
    stage: ChildStage, created: JobCreated, base: ModelRegistered, model: Path, device: str, threads: int, dtype: str
) -> JobQueued:
    inputs, job, folder = stage.control.inputs, stage.control.subject, stage.folder
    spec: dict[str, Any] = {
        "model_dir": str(model),
        "base_name": created.model,
        "context": row_length(created, base),
        "base_context": base.context,
        "template_sha256": base.template_sha256,
        "overlong": created.overlong,
        "created": inputs["created"],
        "base": inputs["base"],
        "tuning": created.tuning.model_dump(mode="json"),
        "seed": created.seed if created.seed is not None else derived_seed(job),
        "device": device,
        "threads": threads,
        "dtype": dtype,
        "day": await stage.lease.record("day", datetime.now(UTC).date().isoformat()),
        "folder": str(folder),
        "train": str(await _rows(stage, "training")),
        "valid": None,
        "row_shapes": {"training_file": inputs["training"].get("shape", "chat")},
    }
    if inputs["validation"]:
        spec["valid"] = str(await _rows(stage, "validation"))
        spec["row_shapes"]["validation_file"] = inputs["validation"].get("shape", "chat")
    found = await _tokenise(stage, spec)
    if "failed" in found:
        raise _unusable(**found["failed"])
    # A clock was read: whoever prepares this job again must say the same.
    found["measured"] = await stage.lease.record("measured", found["measured"])
    prefix, blobs = f"{stage.control.tenant}/{job}", stage.blobs
    stored = StoredTokens(
        train=await blobs.store(f"{prefix}/tokens/train.safetensors", folder / "train.safetensors"),
        valid=await blobs.store(f"{prefix}/tokens/valid.safetensors", folder / "valid.safetensors")
        if spec["valid"]
        else None,
        probe=await blobs.store(f"{prefix}/probe.json", folder / "probe.json", "application/json"),
    )
    choice = choose(created, found["train"]["rows_per_epoch"], base)
    return JobQueued(plan=make_plan(job, created, base, choice, found, stored))


async def _tokenise(stage: ChildStage, spec: dict[str, Any]) -> dict[str, Any]:
    """Run the child without a limit of memory; what its libraries print is no answer, so that is in a file."""
    path = stage.folder / "spec.json"
    path.write_text(json.dumps(spec))
    result = await stage.child.run(TOKENISE, path, seconds=SECONDS)
    if result.code:
        raise result.failed("tokenising")
    found: dict[str, Any] = json.loads((stage.folder / "found.json").read_text())
    return found


async def _rows(stage: ChildStage, which: str) -> Path:
    file = stage.control.inputs[which]
    try:
        return await stage.fetch(BlobRef.model_validate(file["blob"]), f"{which}.jsonl")
    except BlobNotFoundError as error:
        text = f"The file {file['id']} was deleted. Upload it again and create a new job."
        raise _unusable("file_deleted", text, f"{which}_file") from error


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the ending of a job whose preparation failed too often."""
    text = f"The job could not be prepared, for a reason of the platform's own: {why}. Create it again."
    fail = Fail("preparation_failed", text)
    return [failed(claim.subject, claim.control.tenant, None, fail)]
