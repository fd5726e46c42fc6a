"""Assembly under a lease: plan, chunks and examples come to scratch, a limited child makes the data set's files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from contracts.blobs import BlobRef
from contracts.canonical import compact, sha256
from contracts.controls import Claim, Control
from contracts.envelope import Event
from contracts.events import Payload
from contracts.events.corpus import DatasetAssembled, DatasetFailed, Embedded
from contracts.ports import Blobs, Child, Complete, Lease
from functions._shared.stage import ChildStage, Limits, event_of, run_stage
from functions._shared.vectors import QUESTION, Embedding
from functions.assemble_dataset.core import SETTLED, RowSettings

BUILD = "functions.assemble_dataset.build"
LIMITS = Limits(memory_bytes=4 * 2**30, seconds=3600.0)
_TOO_LARGE = DatasetFailed(
    code="too_large",
    message="The archive's data set could not be made within the limits of memory and time. Split the archive.",
)


class _Asked(msgspec.Struct):
    id: str
    question: str
    code: str | None = None


_READER = msgspec.json.Decoder(_Asked)
"""Of a `contracts.corpus.Example`, what is embedded."""


@dataclass(frozen=True, slots=True)
class DatasetPorts:
    """What assembly needs of the world."""

    blobs: Blobs
    child: Child
    scratch: Path
    complete: Complete


async def work(lease: Lease, ports: DatasetPorts, settings: RowSettings | None = None) -> list[Event]:
    """Return `dataset.assembled`, or the `dataset.failed` that says why there is none.

    The control document's subject is `{archive}/dataset`, the event's is the archive. Its inputs: `event_id` (the
    cause), `archive`, `plan` (a BlobRef) and `listed` (a BlobRef of a JSON array), in any order: {chunks (a BlobRef),
    examples (a BlobRef, or null where there are none), language (that rules saw), lacks (the code of why there are
    none), tried (who was to write them)} for every document that the plan has chunks of. A re-curation has those of its
    source, and `min_score`, `max_score`, and `report` (a BlobRef): rows are made with the settings of that report, so
    that the scores alone make a difference. `embedded` (of corpus.planned, or null) says where the chunks' vectors are:
    then questions are embedded too, once, and stored beside those as `questions-….f32`. `members` and `rejected`
    (BlobRefs) say which members of the archive were skipped and which documents rejected, and why. `refused` (code,
    message) is there instead of all of it.
    Raises UnavailableError while serving is away that is to embed.
    Files lie under `{tenant}/{archive}/dataset/{version}/`: rows.jsonl, held_out.jsonl, each with its lineage
    (lineage.jsonl, held_out.lineage.jsonl), and report.json.
    """
    control = lease.claim.control
    if refused := control.inputs.get("refused"):
        return [_event(control, DatasetFailed(**refused))]
    chosen = await lease.record("settings", await _chosen(control.inputs, settings or RowSettings(), ports.blobs))
    build = partial(_dataset, ports=ports, settings=RowSettings.model_validate(chosen))
    return [_event(control, await run_stage(lease, ports.blobs, ports.child, ports.scratch, build))]


async def _chosen(inputs: Mapping[str, Any], settings: RowSettings, blobs: Blobs) -> dict[str, Any]:
    """Return the settings that rows are made with, as JSON."""
    embedded = inputs.get("embedded") or {"model": ""}
    now = settings.model_dump(mode="json") | {"embedding_model": embedded["model"]}
    if "report" not in inputs:
        return now
    source = await asyncio.to_thread(json.loads, await blobs.get(inputs["report"]["key"]))
    was = {name: value for name, value in source["settings"].items() if name in SETTLED}
    return {**now, **was, "min_score": inputs["min_score"], "max_score": inputs["max_score"]}


def _event(control: Control, data: Payload) -> Event:
    return event_of(control, data, control.subject, "end", subject=control.inputs["archive"])


async def _dataset(stage: ChildStage, ports: DatasetPorts, settings: RowSettings) -> Payload:
    control = stage.control
    spec = await _spec(stage, settings)
    spec["near"] = await _near(stage, ports, [examples for _, examples in spec["documents"] if examples is not None])
    found = await stage.run(BUILD, spec, LIMITS, f"assembling {control.subject}", _TOO_LARGE)
    if not found.pop("ok"):
        return DatasetFailed(**found)
    prefix = f"{control.tenant}/{control.inputs['archive']}/dataset/{found['version']}"

    async def store(name: str, media_type: str = "application/jsonl") -> BlobRef:
        return await stage.blobs.store(f"{prefix}/{name}", stage.folder / name, media_type)

    held_out = None
    if found["held_out_rows"]:
        await store("held_out.lineage.jsonl")
        held_out = await store("held_out.jsonl")
    return DatasetAssembled(
        **found,
        lineage=await store("lineage.jsonl"),
        report=await store("report.json", "application/json"),
        held_out=held_out,
        blob=await store("rows.jsonl"),
    )


async def _spec(stage: ChildStage, settings: RowSettings) -> dict[str, Any]:
    """Bring everything to the folder and return what the child wants to know."""
    inputs, wanted = stage.control.inputs, dict[str, BlobRef]()

    def brought(dump: Mapping[str, Any] | None, name: str) -> Path | None:
        if dump is None:
            return None
        wanted[name] = BlobRef.model_validate(dump)
        return stage.folder / name

    listed = json.loads(await stage.blobs.get(inputs["listed"]["key"]))
    spec = {
        "plan": brought(inputs["plan"], "plan.json"),
        "documents": [
            (brought(entry["chunks"], f"{number}.chunks.json"), brought(entry["examples"], f"{number}.examples.jsonl"))
            for number, entry in enumerate(listed)
        ],
        "written": [(entry.get("language", ""), entry.get("lacks")) for entry in listed],
        "tried": [each for entry in listed for each in entry.get("tried", ())],
        "members": brought(inputs.get("members"), "members.json"),
        "rejected": brought(inputs.get("rejected"), "rejected.json"),
        "general": brought(None if settings.general is None else settings.general.model_dump(), "general.jsonl"),
        "folder": stage.folder,
        "settings": settings.model_dump(mode="json"),
    }
    await stage.fetch_all(wanted)
    return spec


async def _near(stage: ChildStage, ports: DatasetPorts, examples: Sequence[Path]) -> dict[str, Any] | None:
    """Embed the questions and return what the child wants to know of vectors; None where there are none."""
    if not stage.control.inputs.get("embedded"):
        return None
    chunks = Embedded.model_validate(stage.control.inputs["embedded"])
    asked, ids = await asyncio.to_thread(_questions, examples), stage.folder / "questions.json"
    if not asked:
        return None
    model = Embedding(ports.complete, stage.blobs, stage.control.tenant, chunks.model, chunks.manifest)
    # Beside the chunks, also where this is a re-curation: the same questions are there already.
    digest = sha256(compact([chunks.manifest.sha256, asked]))
    questions = await model.of(asked, f"{chunks.vectors.key.rpartition('/')[0]}/questions-{digest[:32]}", QUESTION)
    await asyncio.to_thread(ids.write_bytes, compact([id for id, _ in asked]))
    return {
        "chunks": await stage.fetch(chunks.vectors, "chunks.f32"),
        "questions": await stage.fetch(questions.vectors, "questions.f32"),
        "ids": ids,
        "dimensions": chunks.dimensions,
        "model": chunks.model,
        "manifest": chunks.manifest.sha256,
        "cut_chunks": chunks.cut,
        "cut_questions": questions.cut,
    }


def _questions(examples: Sequence[Path]) -> list[tuple[str, str]]:
    """Return id and question of all examples that were found good, sorted by id."""
    lines = (line for path in examples for line in path.read_bytes().splitlines() if line.strip())
    read = (_READER.decode(line) for line in lines)
    return sorted({each.id: each.question for each in read if each.code is None}.items())


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the failure of a data set that could not be made in several attempts."""
    message = f"The data set could not be made, for a reason of the platform's own: {why}. Upload it again."
    return [_event(claim.control, DatasetFailed(code="assembly_failed", message=message))]
