"""The `BaseModels` port: registered models, and their files on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from contracts.documents.models import PUBLIC, model_id
from contracts.manifest import ManifestRef
from contracts.ports import Blobs, Documents, UnavailableError
from functions._shared.model_files import ModelFiles, read_manifest


class CachedBaseModels:
    """Models by hash in the cache of this machine, which keeps what is lent."""

    def __init__(self, documents: Documents, blobs: Blobs, cache: Path) -> None:
        self._documents, self._blobs, self._files = documents, blobs, ModelFiles(blobs, cache)

    async def manifest(self, name: str) -> ManifestRef:
        """Return where a base model's manifest is; raises UnavailableError until it is registered."""
        found = await self._documents.get("models", model_id(PUBLIC, name))
        if found is None or found["deleted"]:
            raise UnavailableError("model", f"the target model {name} is not registered; add it or set another one")
        return ManifestRef.model_validate(found["manifest"])

    @asynccontextmanager
    async def tokenizer(self, name: str) -> AsyncIterator[Path]:
        """Lend the tokenizer.json of a base model; raises UnavailableError until it is registered."""
        async with self._files.hold(await self.manifest(name), only=("tokenizer.json",)) as folder:
            yield folder / "tokenizer.json"

    @asynccontextmanager
    async def folders(self, ref: ManifestRef) -> AsyncIterator[Mapping[str, str | None]]:
        """Lend a model's folders: `model`, its base or whole weights, and `adapter`, if it has one."""
        manifest = await read_manifest(self._blobs, ref)
        async with self._files.hold(ref) as folder:
            if manifest.kind != "adapter" or manifest.base is None:
                yield {"model": str(folder), "adapter": None}
            else:
                async with self._files.hold(manifest.base) as base:
                    yield {"model": str(base), "adapter": str(folder)}
