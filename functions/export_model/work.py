"""Exports a model: files from this machine's cache, converted and asked by children of this process."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.documents import View
from contracts.manifest import Manifest, ManifestRef
from contracts.ports import BlobNotFoundError, Blobs, Child, ChildFailedError, Documents, ProofFailedError, Prove
from functions._shared.model_files import ModelFiles, UnusableModelError, read_manifest
from functions._shared.model_folder import CARD, card
from functions.export_model import core
from functions.export_model.core import Compared, ExportError, Format, Score

CONVERT, CHECK = "functions.export_model.convert", "functions.export_model.check"
UNCOMPARED = "Nothing of its job is left to ask it: nobody has compared its answers."
PROOF_TOKENS = 32
"""Of a proof's answer."""


@dataclass(frozen=True, slots=True)
class ExportPorts:
    """What an export needs of the world."""

    blobs: Blobs
    documents: Documents
    child: Child
    prove: Prove
    cache: Path
    score: Score
    say: Callable[[str], None]
    """Told what is being done."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A folder that was written and asked."""

    files: tuple[Path, ...]
    compared: Compared | None
    """None where nothing is left of the job to ask: then nobody has said that it is good."""
    warning: str | None


async def export(ports: ExportPorts, model: View, format: Format, out: Path) -> Exported:
    """Write a model's folder to `out`, which must not be there yet; raises ExportError, and leaves nothing then."""
    core.check_format(format, model["kind"])
    if out.exists():
        raise ExportError(f"{out} is there already; name a folder that is not.")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "folder").mkdir(parents=True)
    try:
        async with AsyncExitStack() as held:
            ports.say("fetching the model")
            base, adapter = await _held(ports, model, held)
            exported = await _written(ports, model, format, partial, base, adapter)
        (partial / "folder").rename(out)
    except (ChildFailedError, UnusableModelError) as error:
        raise ExportError(f"{error}. {' '.join(getattr(error, '__notes__', ()))}"[-1000:]) from error
    finally:
        await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
    files = tuple(out / path.relative_to(partial / "folder") for path in exported.files)
    return Exported(files, exported.compared, exported.warning)


async def _held(ports: ExportPorts, model: View, held: AsyncExitStack) -> tuple[Path, Path | None]:
    """Return the folders of the whole model that it stands on, and of its adapter, None where it has none."""
    files, ref = ModelFiles(ports.blobs, ports.cache), ManifestRef.model_validate(model["manifest"])
    own = await held.enter_async_context(files.hold(ref))
    if model["kind"] != "adapter":
        return own, None
    return await held.enter_async_context(files.hold(ManifestRef.model_validate(model["base"]))), own


async def _written(
    ports: ExportPorts, model: View, format: Format, place: Path, base: Path, adapter: Path | None
) -> Exported:
    folder, questions = place / "folder", await _questions(ports, model)
    await asyncio.to_thread(_copy_tokenizer, await _manifest_of_base(ports.blobs, model), base, folder)
    warning = None
    if format == "adapter":
        assert adapter is not None
        for path in adapter.iterdir():
            shutil.copyfile(path, folder / path.name)
    else:
        ports.say("converting" if adapter is None else "merging the adapter with its base")
        texts = [str(each["messages"][-1].get("content")) for each in questions]
        spec = {"format": format, "name": model["id"], "base": base, "adapter": adapter, "out": folder, "texts": texts}
        warning = (await _child(ports.child, place, CONVERT, spec))["warning"]
    compared = None
    if questions:
        ports.say(f"asking {len(questions)} questions of what was written")
        own = await read_manifest(ports.blobs, ManifestRef.model_validate(model["manifest"]))
        switches = dict(own.chat_template_kwargs)
        spec = {"format": format, "folder": folder, "base": base, "switches": switches, "questions": questions}
        said = (await _child(ports.child, place, CHECK, spec))["said"]
        compared = core.compared(questions, said, ports.score)
        if not compared.good:
            raise ExportError(f"What was written is not the model that is served: {compared.sentence()}")
    job = await ports.documents.get("jobs", model["job"]) if model["job"] else None
    found = compared.sentence() if compared else UNCOMPARED
    more = "\n\n".join(filter(None, (f"Exported as {format}. {found}", warning)))
    (folder / CARD).write_text(card(model, job["plan"] if job else None, more), encoding="utf-8")
    return Exported(tuple(sorted(path for path in folder.rglob("*") if path.is_file())), compared, warning)


async def _manifest_of_base(blobs: Blobs, model: View) -> Manifest:
    ref = model["base"] if model["kind"] == "adapter" else model["manifest"]
    return await read_manifest(blobs, ManifestRef.model_validate(ref))


def _copy_tokenizer(manifest: Manifest, base: Path, folder: Path) -> None:
    for file in manifest.files:
        if file.role == "tokenizer" or file.path in ("generation_config.json", "chat_template.jinja"):
            shutil.copyfile(base / file.path, folder / file.path)


async def _child(child: Child, place: Path, module: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a child prints; raises ExportError where it refuses, ChildFailedError."""
    path = place / "spec.json"
    path.write_text(json.dumps(spec, default=str), encoding="utf-8")
    result = await child.run(module, path)
    if result.code:
        raise result.failed(module.rpartition(".")[2])
    answered: dict[str, Any] = json.loads(result.stdout)
    if answered["refused"]:
        raise ExportError(answered["refused"])
    return answered


async def _questions(ports: ExportPorts, model: View) -> list[dict[str, Any]]:
    """Return what the model was asked while it was served, with what it said: its benchmark's, or its proof's."""
    if model["job"] is None:
        return []
    completed = {"tenant": model["tenant"], "job": model["job"], "status": "completed"}
    for bench in await ports.documents.find("benchmarks", completed, [("created_at", -1)]):
        tuned = bench["requested"]["models"].get("tuned")
        mine = tuned is not None and tuned["manifest"]["sha256"] == model["manifest"]["sha256"]
        if mine and (found := await _of_benchmark(ports.blobs, f"{model['tenant']}/{bench['id']}/")):
            return found[: core.QUESTIONS]
    return await _of_proof(ports, model)


async def _of_benchmark(blobs: Blobs, prefix: str) -> list[dict[str, Any]]:
    said: dict[str, str] = {}
    for key in await blobs.list(f"{prefix}answers/tuned-"):
        said |= {each["id"]: each["said"] for each in _lines(await blobs.get(key)) if "said" in each}
    try:
        suite = _lines(await blobs.get(f"{prefix}suite.jsonl"))
    except BlobNotFoundError:  # erased together with the file whose rows it asks
        return []
    return [{**line, "served": said[line["id"]]} for line in suite if line["id"] in said]


def _lines(data: bytes) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


async def _of_proof(ports: ExportPorts, model: View) -> list[dict[str, Any]]:
    job = await ports.documents.get("jobs", model["job"])
    if job is None or job["plan"] is None:
        return []
    try:
        probe = json.loads(await ports.blobs.get(job["plan"]["probe"]["key"]))
    except BlobNotFoundError:  # erased together with the file that it was rendered of
        return []
    asked = probe["messages"], probe.get("tools"), probe["prompt_ids"]
    try:
        proof = await ports.prove(ManifestRef.model_validate(model["manifest"]), *asked)
    except ProofFailedError as error:
        raise ExportError(f"The served model itself fails its proof: {error}") from error
    names = ("messages", "tools", "prompt_ids")
    return [{**dict(zip(names, asked, strict=True)), "max_tokens": PROOF_TOKENS, "served": proof.answer}]
