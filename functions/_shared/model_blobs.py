"""Blobs of a stored model: which of them answers need, and what of a checkpoint is only there to train on."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.manifest import ManifestRef
from contracts.ports import BlobMismatchError, BlobNotFoundError, Blobs
from functions._shared.model_files import read_manifest


async def answering(blobs: Blobs, models: Iterable[ManifestRef]) -> set[str]:
    """Return the keys of all that these models need to answer, their manifests among them.

    One whose manifest is gone needs nothing: it cannot be loaded.
    """
    needed: set[str] = set()
    for ref in models:
        try:
            manifest = await read_manifest(blobs, ref)
        except (BlobNotFoundError, BlobMismatchError):
            continue
        needed |= {ref.key, *(file.key for file in manifest.files if file.role != "resume")}
    return needed
