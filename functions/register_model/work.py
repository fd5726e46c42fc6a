"""Registering a base model: its directory is read and tried, its files become blobs by content."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open

from contracts.documents.models import PUBLIC
from contracts.events.models import ModelRegistered
from contracts.manifest import Manifest, ManifestFile, ManifestRef
from contracts.ports import Blobs, Child
from functions.register_model.core import TEXTS, InspectedBase, NotAModelError, check_name, inspect

RENDER = "functions.register_model.render"
RENDER_SECONDS = 60.0
RENDER_BYTES = 8 * 2**30


class _Tried(BaseModel):
    """What the child prints."""

    model_config = ConfigDict(frozen=True)

    refused: str | None


async def register(
    blobs: Blobs, child: Child, name: str, folder: Path, say: Callable[[str], None] = lambda line: None
) -> tuple[ModelRegistered, Manifest]:
    """Store a directory by content and return what `model.registered` says of it; raises NotAModelError.

    A directory that is stored already as it is was tried then.
    """
    check_name(name)
    try:
        base, parameters = await asyncio.to_thread(read, folder)
        manifest, paths = await asyncio.to_thread(_manifest, name, folder, base)
        key = f"{PUBLIC}/{name}/{manifest.digest()}/manifest.json"
        if await blobs.stat(key) is None:
            await _try(child, folder, base)
        await _store(blobs, paths, manifest, say)
    except NotAModelError as error:
        raise NotAModelError(f"{folder}: {error}") from error
    except OSError as error:
        raise NotAModelError(f"{error.filename or folder} cannot be read: {error.strerror}.") from error
    await blobs.put(key, manifest.encoded(), "application/json")
    data = ModelRegistered(
        kind="base",
        manifest=ManifestRef(key=key, sha256=manifest.digest()),
        template_sha256=manifest.template_sha256,
        context=base.context,
        owned_by="temper",
        parameters=parameters,
        auto=dict(base.auto),
    )
    return data, manifest


def read(folder: Path) -> tuple[InspectedBase, int]:
    """Return (what a directory is, how many parameters it has); raises NotAModelError, OSError."""
    names = {path.name for path in folder.iterdir() if path.is_file()}
    base = inspect(names, {name: (folder / name).read_bytes() for name in TEXTS if name in names})
    weights = [name for name in base.files if name.endswith(".safetensors")]
    return base, sum(_parameters(folder / name) for name in weights)


def _parameters(path: Path) -> int:
    """Count the numbers in a safetensors file from its header, which must cover the file."""
    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
            return sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    except SafetensorError as error:
        raise NotAModelError(f"{path.name} is damaged or cut short: {error}; fetch the model again.") from error


async def _try(child: Child, folder: Path, base: InspectedBase) -> None:
    """Let a process of its own show a chat with the tokenizer and template; raises NotAModelError."""
    with tempfile.TemporaryDirectory() as scratch:
        spec = Path(scratch) / "spec.json"
        tokenizer = str((folder / "tokenizer.json").resolve())
        spec.write_text(json.dumps({"tokenizer": tokenizer, "template": base.template, "tokens": base.tokens}))
        result = await child.run(RENDER, spec, RENDER_BYTES, RENDER_SECONDS)
    if result.code:
        last = result.stderr.strip().rpartition("\n")[2] or f"status {result.code}"
        raise NotAModelError(f"Its tokenizer and chat template could not be tried: {last}.")
    if refused := _Tried.model_validate_json(result.stdout).refused:
        raise NotAModelError(refused)


def _manifest(name: str, folder: Path, base: InspectedBase) -> tuple[Manifest, Mapping[str, Path]]:
    """Return the manifest of a directory and blob key → the file that belongs there."""
    files, paths = [], {}
    for file, role in base.files.items():
        path = folder / file
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        key = f"{PUBLIC}/{name}/{digest}/{file}"
        files.append(ManifestFile(path=file, key=key, sha256=digest, bytes=path.stat().st_size, role=role))
        paths[key] = path
    template = hashlib.sha256(base.template.encode()).hexdigest()
    return Manifest(kind="base", files=tuple(files), template_sha256=template, context=base.context), paths


async def _store(blobs: Blobs, paths: Mapping[str, Path], manifest: Manifest, say: Callable[[str], None]) -> None:
    """Store the files that are not there yet."""
    for file in manifest.files:
        known = await blobs.stat(file.key)
        if known is None or known.bytes != file.bytes:
            say(f"storing {file.path} ({file.bytes / 2**20:.1f} MiB)")
            await blobs.store(file.key, paths[file.key])
