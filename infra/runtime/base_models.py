"""The `BaseModels` port: registered models, and their files on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contracts.blobs import BlobRef
from contracts.documents.models import PUBLIC, model_id
from contracts.manifest import Manifest, ManifestRef
from contracts.ports import Blobs, Documents, UnavailableError
from functions.prepare_job.work import fetch_base


@dataclass(frozen=True, slots=True)
class CachedBaseModels:
    """Models by hash in the cache of this machine."""

    documents: Documents
    blobs: Blobs
    cache: Path

    async def manifest(self, name: str) -> ManifestRef:
        """Return where a base model's manifest is; raises UnavailableError until it is registered."""
        found = await self.documents.get("models", model_id(PUBLIC, name))
        if found is None or found["deleted"]:
            raise UnavailableError("model", f"the target model {name} is not registered; add it or set another one")
        return ManifestRef.model_validate(found["manifest"])

    async def tokenizer(self, name: str) -> Path:
        """Return the tokenizer.json of a base model; raises UnavailableError until it is registered."""
        manifest = Manifest.model_validate_json(await self.blobs.get((await self.manifest(name)).key))
        file = next(each for each in manifest.files if each.path == "tokenizer.json")
        path = self.cache / "tokenizers" / f"{file.sha256}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            await self.blobs.fetch(BlobRef(key=file.key, sha256=file.sha256, bytes=file.bytes), path)
        return path

    async def folders(self, ref: ManifestRef, name: str, scratch: Path) -> Mapping[str, str | None]:
        """Return where a model lies: `model`, its base or whole weights, and `adapter`, if it has one."""
        manifest = Manifest.model_validate_json(await self.blobs.get(ref.key))
        folder = await fetch_base(self.blobs, ref, name, self.cache.resolve(), scratch)
        if manifest.kind != "adapter" or manifest.base is None:
            return {"model": str(folder), "adapter": None}
        base = await fetch_base(self.blobs, manifest.base, f"of {name}", self.cache.resolve(), scratch)
        return {"model": str(base), "adapter": str(folder)}
