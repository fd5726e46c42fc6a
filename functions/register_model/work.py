"""Registering a base model: its directory is read and tried, its files become blobs by content."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open

from contracts.documents.models import PUBLIC
from contracts.events.models import ModelRegistered
from contracts.manifest import Manifest, ManifestFile, ManifestRef, Role
from contracts.ports import Blobs, Child
from functions.register_model.core import (
    TEMPLATE_FOLDERS,
    TEXTS,
    Conversion,
    InspectedBase,
    NotAModelError,
    check_name,
    conversion,
    inspect,
)
from functions.register_model.embedding import MAX_TEXT, MODULES, EmbeddingModule, files_of, is_read, modules_of

RENDER = "functions.register_model.render"
RENDER_SECONDS = 60.0
RENDER_BYTES = 8 * 2**30
CONVERT = "functions.register_model.convert"
TRIALS = ("functions.train_model.trial", "functions.generate_text.trial")
"""A small sibling of the base is tuned by the one and served by the other; each by its function's own parts."""
TRIAL_SECONDS = 900.0
EMBED = "functions.generate_text.embedding_trial"
"""Serving's own parts embed with the model."""
EMBED_BYTES = 16 * 2**30
"""Memory of that trial beside four times the weights."""


class _Tried(BaseModel):
    """What the children print."""

    model_config = ConfigDict(frozen=True)

    refused: str | None
    notes: tuple[str, ...] = ()
    dimensions: int = 0
    context: int = 0
    parameters: int = 0


async def register(
    blobs: Blobs,
    child: Child,
    name: str,
    source: Path,
    say: Callable[[str], None] = lambda line: None,
    trial: bool = False,
) -> tuple[ModelRegistered, Manifest]:
    """Store a directory or a GGUF file by content and return what `model.registered` says of it; NotAModelError.

    `trial`: a small sibling of it is tuned and served first, so that no job fails later for what its family lacks.
    What is stored already as it is was tried then.
    """
    check_name(name)
    try:
        with tempfile.TemporaryDirectory(prefix="temper-base-") as scratch:
            folder = await _whole(child, source, Path(scratch), say)
            base, parameters = await asyncio.to_thread(read, folder)
            template = hashlib.sha256(base.template.encode()).hexdigest()
            manifest, paths = await asyncio.to_thread(
                _manifest, name, folder, base.files, "base", template, base.context
            )
            key = f"{PUBLIC}/{name}/{manifest.digest()}/manifest.json"
            if await blobs.stat(key) is None:
                await _try(child, folder, base)
                if trial:
                    await _tune_and_serve(child, folder, base, say)
            await _store(blobs, paths, manifest, say)
    except NotAModelError as error:
        raise NotAModelError(f"{source}: {error}") from error
    except OSError as error:
        raise NotAModelError(f"{error.filename or source} cannot be read: {error.strerror}.") from error
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


async def register_embedding(
    blobs: Blobs, child: Child, name: str, source: Path, say: Callable[[str], None] = lambda line: None
) -> tuple[ModelRegistered, Manifest]:
    """Try a sentence-transformers folder, store it by content, return what `model.registered` says; NotAModelError."""
    check_name(name)
    try:
        files = await asyncio.to_thread(read_embedding, source)
        say("trying it (this may take a minute)")
        weights = sum((source / path).stat().st_size for path, role in files.items() if role == "weights")
        with tempfile.TemporaryDirectory(prefix="temper-trial-") as scratch:
            model = Path(scratch) / "model"  # nothing else of the folder is there to be loaded
            for path in files:
                (model / path).parent.mkdir(parents=True, exist_ok=True)
                (model / path).symlink_to((source / path).resolve())
            spec, failed = {"model": str(model)}, "It could not be tried"
            tried = await _run(child, EMBED, Path(scratch), spec, failed, TRIAL_SECONDS, EMBED_BYTES + 4 * weights)
        for note in tried.notes:
            say(f"note: {note}")
        digest = hashlib.sha256(b"").hexdigest()
        manifest, paths = await asyncio.to_thread(_manifest, name, source, files, "embedding", digest, tried.context)
        await _store(blobs, paths, manifest, say)
    except NotAModelError as error:
        raise NotAModelError(f"{source}: {error}") from error
    except OSError as error:
        raise NotAModelError(f"{error.filename or source} cannot be read: {error.strerror}.") from error
    key = f"{PUBLIC}/{name}/{manifest.digest()}/manifest.json"
    await blobs.put(key, manifest.encoded(), "application/json")
    data = ModelRegistered(
        kind="embedding",
        manifest=ManifestRef(key=key, sha256=manifest.digest()),
        template_sha256=manifest.template_sha256,
        context=manifest.context,
        owned_by="temper",
        parameters=tried.parameters,
        dimensions=tried.dimensions,
    )
    return data, manifest


def read_embedding(source: Path) -> dict[str, Role]:
    """Return path → role of what a sentence-transformers folder is made of; raises NotAModelError, OSError."""
    if not (source / MODULES).is_file():
        raise NotAModelError(f"{MODULES} is missing: it is no sentence-transformers folder.")
    modules = modules_of(_text(source / MODULES))
    names = {
        module.file(path.name)
        for module in (*modules, EmbeddingModule("", ""))
        if (source / module.path).is_dir()
        for path in (source / module.path).iterdir()
        if path.is_file()
    }
    texts = {}
    for name in sorted(names):
        path = source / name
        _check_stays(path, source)
        if is_read(path.name):
            texts[name] = _text(path)
    return files_of(modules, names, texts)


def _text(path: Path) -> bytes:
    if (size := path.stat().st_size) > MAX_TEXT:
        raise NotAModelError(
            f"{path.name} has {size} bytes; {MAX_TEXT} are the most of a file that only says settings."
        )
    return path.read_bytes()


def _check_stays(path: Path, folder: Path) -> None:
    """Raise NotAModelError of a link that leads out: what it shows would be stored for whoever may take the model away.

    Hugging Face's cache keeps the files of a snapshot in a folder beside it.
    """
    home, real = folder.resolve(), path.resolve()
    blobs = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
    if not (real.is_relative_to(home) or real.is_relative_to(blobs)):
        name = path.relative_to(folder)
        raise NotAModelError(f"{name} is a link that leads out of the folder; put the file itself there.")


async def _whole(child: Child, source: Path, scratch: Path, say: Callable[[str], None]) -> Path:
    """Return the directory of a base model: the given one, or one that is made of it in `scratch`; NotAModelError."""
    wanted, folder = await asyncio.to_thread(_wanted, source)
    if wanted is None:
        return folder
    say(f"converting {wanted.gguf or folder.name} (this may take minutes)")
    return await convert(child, folder, wanted, scratch)


async def convert(child: Child, folder: Path, wanted: Conversion, scratch: Path) -> Path:
    """Return a new directory in `scratch`, made of another one by a process of its own; raises NotAModelError."""
    target = scratch / "base"
    target.mkdir()
    spec = {"source": str(folder.resolve()), "target": str(target), "conversion": asdict(wanted)}
    await _run(child, CONVERT, scratch, spec, "It could not be converted", seconds=0.0, memory=0)
    return target


def _wanted(source: Path) -> tuple[Conversion | None, Path]:
    """Return what must become of a path, and its directory; NotAModelError, OSError."""
    if source.is_file():
        with source.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise NotAModelError("It is a file, but no GGUF file; give a Hugging Face model directory.")
        return Conversion(gguf=source.name), source.parent
    names = {path.name for path in source.iterdir() if path.is_file()}
    templates = [path for folder in TEMPLATE_FOLDERS for path in sorted((source / folder).glob("*.jinja"))]
    for path in (*(source / name for name in sorted(names)), *templates):
        if path.suffix not in (".safetensors", ".bin"):  # weights, which are often kept on another disk
            _check_stays(path, source)
    texts = {name: (source / name).read_bytes() for name in TEXTS if name in names}
    folders = {path.stem: path.read_text("utf-8", "replace") for path in templates}
    return conversion(names, texts, folders), source


async def _tune_and_serve(child: Child, folder: Path, base: InspectedBase, say: Callable[[str], None]) -> None:
    """Let processes of their own tune and serve a small sibling of the base; raises NotAModelError."""
    notes = [] if base.template else ["it has no chat template: only prompt/completion rows can be trained on"]
    with tempfile.TemporaryDirectory(prefix="temper-trial-") as scratch:
        spec = {"base": str(folder.resolve()), "folder": scratch}
        for module in TRIALS:
            said = await _run(child, module, Path(scratch), spec, "It could not be tried", TRIAL_SECONDS, 0)
            notes += said.notes
    say("tried: models of its family can be tuned and served here")
    for note in notes:
        say(f"note: {note}")


async def _run(
    child: Child, module: str, scratch: Path, spec: Mapping[str, Any], failed: str, seconds: float, memory: int
) -> _Tried:
    """Run a child on a spec; raises NotAModelError where it refuses or fails."""
    path = scratch / "spec.json"
    path.write_text(json.dumps(spec))
    result = await child.run(module, path, memory, seconds)
    if result.code:
        last = result.stderr.strip().rpartition("\n")[2] or f"status {result.code}"
        raise NotAModelError(f"{failed}: {last}.")
    said = _Tried.model_validate_json(result.stdout.strip().rpartition(b"\n")[2])
    if said.refused:
        raise NotAModelError(said.refused)
    return said


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
    tokenizer = str((folder / "tokenizer.json").resolve())
    spec = {"tokenizer": tokenizer, "template": base.template, "tokens": base.tokens}
    failed = "Its tokenizer and chat template could not be tried"
    with tempfile.TemporaryDirectory() as scratch:
        await _run(child, RENDER, Path(scratch), spec, failed, RENDER_SECONDS, RENDER_BYTES)


def _manifest(
    name: str, folder: Path, roles: Mapping[str, Role], kind: Literal["base", "embedding"], template: str, context: int
) -> tuple[Manifest, Mapping[str, Path]]:
    """Return the manifest of a directory and blob key → the file that belongs there."""
    files, paths = [], {}
    for file, role in roles.items():
        path = folder / file
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        key = f"{PUBLIC}/{name}/{digest}/{file}"
        files.append(ManifestFile(path=file, key=key, sha256=digest, bytes=path.stat().st_size, role=role))
        paths[key] = path
    return Manifest(kind=kind, files=tuple(files), template_sha256=template, context=context), paths


async def _store(blobs: Blobs, paths: Mapping[str, Path], manifest: Manifest, say: Callable[[str], None]) -> None:
    """Store the files that are not there yet."""
    for file in manifest.files:
        known = await blobs.stat(file.key)
        if known is None or known.bytes != file.bytes:
            say(f"storing {file.path} ({file.bytes / 2**20:.1f} MiB)")
            await blobs.store(file.key, paths[file.key])
