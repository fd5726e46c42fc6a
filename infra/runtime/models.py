"""Registering base models: a Hugging Face directory becomes blobs, a manifest and `model.registered`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contracts.documents.models import PUBLIC
from contracts.events.models import ModelRegistered
from contracts.manifest import Manifest, ManifestFile, ManifestRef, Role
from contracts.ports import Blobs

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
DEFAULT_CONTEXT = 2048


class NotAModelError(Exception):
    """The directory is no causal language model that Temper can serve; says what is missing."""


def role_of(name: str) -> Role | None:
    """Return what a file of a model directory is for, or None for what is left behind (pickles, code, readmes)."""
    if name.endswith(".safetensors") or name == "model.safetensors.index.json":
        return "weights"
    if name in ("config.json", "generation_config.json"):
        return "config"
    tokenizer = ("tokenizer", "special_tokens", "vocab", "merges", "added_tokens", "chat_template")
    if name.startswith(tokenizer) and not name.endswith(".py"):
        return "tokenizer"
    return None


def inspect(folder: Path) -> tuple[dict[str, Role], str, int, int, dict[str, float]]:
    """Return (files with roles, chat template, context, parameters, `auto` values); raises NotAModelError."""
    if not folder.is_dir():
        raise NotAModelError(f"{folder} is not a directory.")
    files = {path.name: role for path in sorted(folder.iterdir()) if (role := role_of(path.name))}
    for needed, why in (("config.json", "the architecture"), ("tokenizer.json", "the tokenizer")):
        if needed not in files:
            raise NotAModelError(f"{folder} has no {needed} ({why}); give a complete Hugging Face model directory.")
    weights = [name for name in files if name.endswith(".safetensors")]
    if not weights:
        raise NotAModelError(f"{folder} has no *.safetensors; pickled weights are refused, convert them first.")
    config = _json(folder / "config.json")
    context = int(config.get("max_position_embeddings") or DEFAULT_CONTEXT)
    auto = _json(folder / "temper.json").get("auto", {}) if (folder / "temper.json").exists() else {}
    parameters = sum(_parameters(folder / name) for name in weights)
    return files, _template(folder), context, parameters, {name: float(value) for name, value in auto.items()}


async def register(
    blobs: Blobs, name: str, folder: Path, say: Callable[[str], None] = lambda line: None
) -> tuple[ModelRegistered, Manifest]:
    """Store a directory by content and return what `model.registered` says of it; raises NotAModelError."""
    if not NAME.fullmatch(name):
        raise NotAModelError(f"{name!r} is no model name; use letters, digits, '.', '_' and '-' (at most 96).")
    files, template, context, parameters, auto = await asyncio.to_thread(inspect, folder)
    stored = []
    for path, role in files.items():
        digest = await asyncio.to_thread(_hash, folder / path)
        key = f"{PUBLIC}/{name}/{digest}/{path}"
        size = (folder / path).stat().st_size
        known = await blobs.stat(key)
        if known is None or known.bytes != size:
            say(f"storing {path} ({size / 2**20:.1f} MiB)")
            await blobs.store(key, folder / path)
        stored.append(ManifestFile(path=path, key=key, sha256=digest, bytes=size, role=role))
    manifest = Manifest(
        kind="base",
        files=tuple(stored),
        template_sha256=hashlib.sha256(template.encode()).hexdigest(),
        context=context,
    )
    key = f"{PUBLIC}/{name}/{manifest.digest()}/manifest.json"
    await blobs.put(key, manifest.encoded(), "application/json")
    data = ModelRegistered(
        kind="base",
        manifest=ManifestRef(key=key, sha256=manifest.digest()),
        template_sha256=manifest.template_sha256,
        context=context,
        owned_by="temper",
        parameters=parameters,
        auto=auto,
    )
    return data, manifest


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise NotAModelError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise NotAModelError(f"{path} is not a JSON object.")
    return value


def _template(folder: Path) -> str:
    if (folder / "chat_template.jinja").exists():
        return (folder / "chat_template.jinja").read_text()
    template = _json(folder / "tokenizer_config.json").get("chat_template", "")
    if isinstance(template, list):  # several named templates: the default one is what chats use
        template = next((each["template"] for each in template if each["name"] == "default"), "")
    if not template:
        raise NotAModelError(f"{folder} has no chat template; Temper tunes chat models.")
    return str(template)


def _parameters(path: Path) -> int:
    """Count the numbers in a safetensors file from its header."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    total = 0
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        count = 1
        for size in tensor["shape"]:
            count *= size
        total += count
    return total


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
