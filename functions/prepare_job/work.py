"""Preparation under a lease: rows and base come to this machine, a child makes tokens of them, the plan is fixed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from contracts.blobs import BlobRef
from contracts.canonical import sha256
from contracts.controls import Claim
from contracts.envelope import Event, derived_id, make
from contracts.events.jobs import JobCreated, JobQueued
from contracts.events.models import ModelRegistered
from contracts.manifest import Manifest, ManifestRef
from contracts.ports import BlobMismatchError, BlobNotFoundError, Blobs, Child, Lease
from contracts.wire.openai import derived_seed
from functions.prepare_job.core import Fail, failed
from functions.prepare_job.plan import Stored, choose, make_plan, row_length

TOKENISE = "functions.prepare_job.tokenise"
SECONDS = 3600.0


class UnusableError(Exception):
    """The job cannot be prepared from what is stored."""

    def __init__(self, fail: Fail) -> None:
        super().__init__(fail.message)
        self.fail = fail


async def work(
    lease: Lease, blobs: Blobs, child: Child, scratch: Path, cache: Path, device: str = "auto", threads: int = 0
) -> list[Event]:
    """Return `job.queued` with the plan of the job that `lease` holds, or the `job.failed` that says why there is none.

    `device` and `threads` are those of training, whose time is measured here.
    """
    control = lease.claim.control
    folder = (scratch / f"{control.subject}-{lease.claim.fence}").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return [await _prepare(lease, blobs, child, folder, cache.resolve(), device, threads)]
    except UnusableError as error:
        return [failed(control.subject, control.tenant, None, error.fail)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _prepare(
    lease: Lease, blobs: Blobs, child: Child, folder: Path, cache: Path, device: str, threads: int
) -> Event:
    control = lease.claim.control
    inputs, job, tenant = control.inputs, control.subject, control.tenant
    created, base = JobCreated.model_validate(inputs["created"]), ModelRegistered.model_validate(inputs["base"])
    length = row_length(created, base)
    if length > base.context:
        text = f"The job's `context_length` is {length}, but {created.model} reads {base.context} tokens."
        raise UnusableError(Fail("invalid_hyperparameters", text, "hyperparameters.context_length"))
    spec: dict[str, Any] = {
        "model_dir": str(await fetch_base(blobs, base.manifest, created.model, cache, folder)),
        "base_name": created.model,
        "context": length,
        "base_context": base.context,
        "template_sha256": base.template_sha256,
        "overlong": created.overlong,
        "created": inputs["created"],
        "base": inputs["base"],
        "tuning": created.tuning.model_dump(mode="json"),
        "seed": created.seed if created.seed is not None else derived_seed(job),
        "device": device,
        "threads": threads,
        "folder": str(folder),
        "train": str(await _rows(blobs, inputs["training"], folder / "train.jsonl", "training_file")),
        "valid": None,
    }
    if inputs["validation"]:
        spec["valid"] = str(await _rows(blobs, inputs["validation"], folder / "valid.jsonl", "validation_file"))
    found = await _tokenise(child, folder, spec)
    if "failed" in found:
        raise UnusableError(Fail(**found["failed"]))
    # A clock was read: whoever prepares this job again must say the same.
    found["measured"] = await lease.record("measured", found["measured"])
    prefix = f"{tenant}/{job}"
    stored = Stored(
        train=await blobs.store(f"{prefix}/tokens/train.safetensors", folder / "train.safetensors"),
        valid=await blobs.store(f"{prefix}/tokens/valid.safetensors", folder / "valid.safetensors")
        if spec["valid"]
        else None,
        probe=await blobs.store(f"{prefix}/probe.json", folder / "probe.json", "application/json"),
    )
    choice = choose(created, found["train"]["rows_per_epoch"], base)
    plan = make_plan(job, created, base, choice, found, stored)
    return make(JobQueued(plan=plan), subject=job, tenant=tenant, id=derived_id(job, "job.queued"))


async def _tokenise(child: Child, folder: Path, spec: dict[str, Any]) -> dict[str, Any]:
    path = folder / "spec.json"
    path.write_text(json.dumps(spec))
    result = await child.run(TOKENISE, path, seconds=SECONDS)
    if result.code:
        raise result.failed("tokenising")
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


async def _rows(blobs: Blobs, file: dict[str, Any], path: Path, param: str) -> Path:
    try:
        await blobs.fetch(BlobRef.model_validate(file["blob"]), path)
    except BlobNotFoundError as error:
        text = f"The file {file['id']} was deleted. Upload it again and create a new job."
        raise UnusableError(Fail("file_deleted", text, param)) from error
    return path


async def fetch_base(blobs: Blobs, ref: ManifestRef, name: str, cache: Path, scratch: Path) -> Path:
    """Return the folder with the base model's verified files; raises UnusableError when they are not as registered.

    The folder is named by the manifest's hash and shared with training and serving; each file appears in it at once.
    """
    target = cache / "models" / ref.sha256
    try:
        data = await blobs.get(ref.key)
        if sha256(data) != ref.sha256:
            raise BlobMismatchError(ref.key)
        for file in Manifest.model_validate_json(data).files:
            path = PurePosixPath(file.path)
            if file.role == "resume":
                continue
            if path.is_absolute() or ".." in path.parts:
                raise BlobMismatchError(file.path)
            final = target / path
            if final.is_file() and final.stat().st_size == file.bytes:
                continue
            # Beside its place, so that moving it there is one step.
            part = target.with_name(f"{target.name}.{scratch.name}") / path
            part.parent.mkdir(parents=True, exist_ok=True)
            await blobs.fetch(BlobRef(key=file.key, sha256=file.sha256, bytes=file.bytes), part)
            final.parent.mkdir(parents=True, exist_ok=True)
            part.replace(final)
    except (BlobNotFoundError, BlobMismatchError) as error:
        text = f"The base model {name} is not stored as it was registered ({error}). Register it again."
        raise UnusableError(Fail("model_unusable", text, "model")) from error
    finally:
        shutil.rmtree(target.with_name(f"{target.name}.{scratch.name}"), ignore_errors=True)
    return target


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the ending of a job whose preparation failed too often."""
    text = f"The job could not be prepared, for a reason of the platform's own: {why}. Create it again."
    fail = Fail("preparation_failed", text)
    return [failed(claim.subject, claim.control.tenant, None, fail)]
