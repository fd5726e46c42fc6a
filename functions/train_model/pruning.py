"""Lets go of the checkpoints that a running job does not need any more, and of those that nobody will ever need."""

from __future__ import annotations

import hashlib
from contextlib import suppress

from contracts.controls import Checkpoint, Control
from contracts.erasure import checkpoints_prefix
from contracts.manifest import ManifestRef
from contracts.ports import BlobMismatchError, Blobs, Documents, UnavailableError
from functions._shared.model_blobs import answering
from functions._shared.model_files import read_manifest
from functions.train_model.kept_checkpoints import only_weights, resumable, superfluous


async def known(control: Control, documents: Documents) -> list[Checkpoint]:
    """Return the checkpoints that a job may go on from, the newest first.

    The log may know later ones than the control document: MongoDB was put back to a time whose own checkpoints have
    been let go since.
    """
    newest = max((each.step for each in control.checkpoints), default=0)
    mine = {"job": control.subject, "tenant": control.tenant, "step": {"$gt": newest}}
    said = [
        Checkpoint(each["step"], ManifestRef.model_validate(each["manifest"]), each["epoch_end"], each["attempt"])
        for each in await documents.find("job_checkpoints", mine, [("step", -1), ("attempt", -1)])
    ]
    return [*said, *sorted(control.checkpoints, key=lambda each: each.step, reverse=True)]


async def prove_readable(blobs: Blobs, ref: ManifestRef) -> None:
    """Read every byte of a checkpoint back; raises BlobNotFoundError, BlobMismatchError."""
    for file in (await read_manifest(blobs, ref)).files:
        digest = hashlib.sha256()
        async for chunk in blobs.stream(file.key):
            digest.update(chunk)
        if digest.hexdigest() != file.sha256:
            raise BlobMismatchError(f"{file.key} was stored and reads back as something else")


async def prune(control: Control, attempt: int, blobs: Blobs) -> None:
    """Delete what lies among a running job's checkpoints and is not needed: to go on, or for a model at its end."""
    prefix = checkpoints_prefix(control.tenant, control.subject)
    folders = [each.manifest.key.rpartition("/")[0] + "/" for each in resumable(control.checkpoints)]
    models = await answering(blobs, [each.manifest for each in only_weights(control.checkpoints)])
    doomed = superfluous(await blobs.list(prefix), prefix, attempt, folders, models)
    if doomed:
        await blobs.remove(doomed)


async def discard(control: Control, checkpoint: Checkpoint, blobs: Blobs, documents: Documents) -> None:
    """Delete a checkpoint that came after its job's end without success: no model is made of it."""
    with suppress(UnavailableError):
        job = await documents.get("jobs", control.subject)
        if job is not None and job["status"] in ("failed", "cancelled"):
            await blobs.delete(checkpoint.manifest.key.rpartition("/")[0] + "/")
