"""What would be trained of a row: a model's files without its weights, lent to the code that prepares jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contracts.manifest import Manifest, ManifestRef
from contracts.ports import BlobMismatchError, Blobs
from contracts.wire.errors import ApiError
from functions._shared.model_files import ModelFiles, UnusableModelError, read_manifest
from functions.generate_text.models import ModelError

Examples = Callable[[Path, Manifest, dict[str, Any]], dict[str, Any]]
"""From a model's folder, its manifest and a row to `refused` and `examples`."""
MAX_TEXT = 8 * 2**20
"""Characters of all examples of a row: each trained turn may repeat what is before it."""


class Previews:
    """Previews of the models in a store."""

    def __init__(self, blobs: Blobs, cache: Path, examples: Examples) -> None:
        self._blobs, self._files, self._examples = blobs, ModelFiles(blobs, cache), examples
        self._turn = asyncio.Lock()  # one at a time: answers go first

    async def of(self, ref: ManifestRef, row: dict[str, Any]) -> dict[str, Any]:
        """Return what would be trained of a row; raises ModelError, BlobNotFoundError and ApiError."""
        try:
            manifest = await read_manifest(self._blobs, ref)
            if manifest.kind == "embedding":
                sentence = "This model makes embeddings; rows are shown for a base model that is tuned on them."
                raise ApiError(sentence, param="model", code="unsupported_model")
            if manifest.kind == "adapter" and manifest.base is not None:
                ref = manifest.base
            parent = await read_manifest(self._blobs, ref)
            light = [file.path for file in parent.files if file.role in ("config", "tokenizer")]
            async with self._turn, self._files.hold(ref, light) as folder:
                found = await asyncio.to_thread(self._examples, folder, manifest, row)
        except (UnusableModelError, BlobMismatchError) as error:
            raise ModelError("manifest_mismatch", str(error)) from error
        size = sum(len(example["text"]) for example in found["examples"])
        if size > MAX_TEXT:
            sentence = f"The examples of this row are {size} characters; {MAX_TEXT} are the most that is shown."
            raise ApiError(sentence, param="row", code="request_too_large")
        return found
