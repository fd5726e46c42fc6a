"""Planning under a lease: all chunks come to scratch, a limited child plans, the plan goes to the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from contracts.blobs import BlobRef
from contracts.controls import Claim, Control
from contracts.envelope import Event
from contracts.events import Payload
from contracts.events.corpus import NO_EMBEDDING, CorpusPlanned, DatasetFailed, Embedded
from contracts.manifest import ManifestRef
from contracts.ports import Blobs, Child, Complete, Documents, Lease
from functions._shared.stage import ChildStage, Limits, event_of, run_stage
from functions._shared.vectors import PASSAGE, Embedding, embedding_model
from functions.plan_corpus.settings import PlanSettings

PLAN = "functions.plan_corpus.plan"
LIMITS = Limits(memory_bytes=4 * 2**30, seconds=1800.0)
_TOO_COMPLEX = DatasetFailed(
    code="corpus_too_complex",
    message="The documents could not be compared within the limits of memory and time. Split the archive.",
)


class _Chunk(msgspec.Struct):
    id: str
    text: str


class _Chunks(msgspec.Struct):
    chunks: list[_Chunk]


_READER = msgspec.json.Decoder(_Chunks)
"""Of a `contracts.corpus.Chunks`, what is embedded."""


@dataclass(frozen=True, slots=True)
class PlanPorts:
    """What planning needs of the world."""

    blobs: Blobs
    child: Child
    scratch: Path
    documents: Documents
    complete: Complete


async def work(lease: Lease, ports: PlanPorts, settings: PlanSettings) -> list[Event]:
    """Return the one verdict on the archive that `lease` holds: `corpus.planned`, or `dataset.failed`.

    The control's subject is `{archive}/plan`. Its inputs: `event_id` (what led to this), `archive` (a file id) and
    `listed`, a BlobRef of JSON with `documents` (a list of `document`, an id, and `chunks`, a BlobRef of
    `contracts.corpus.Chunks`) and `rejected` (ids of documents), in any order. The settings of the first attempt stay.
    Where they name a model of embeddings, the vectors of all chunks lie beside the plan, as `chunks.f32`.
    Raises UnavailableError while serving is away.
    """
    control = lease.claim.control
    listed = json.loads(await ports.blobs.get(control.inputs["listed"]["key"]))
    if not listed["documents"]:
        return [_event(control, _nothing_readable(len(listed["rejected"]), listed.get("first_rejected")))]
    chosen = PlanSettings.model_construct(**await lease.record("planning", settings.model_dump(mode="json")))
    plan = partial(_plan, ports=ports, listed=listed, settings=chosen)
    return [_event(control, await run_stage(lease, ports.blobs, ports.child, ports.scratch, plan))]


async def _plan(stage: ChildStage, ports: PlanPorts, listed: dict[str, Any], settings: PlanSettings) -> Payload:
    archive, made = stage.control.inputs["archive"], stage.folder / "plan.json"
    prefix = f"{stage.control.tenant}/{archive}"
    wanted = {f"{each['document']}.json": BlobRef.model_validate(each["chunks"]) for each in listed["documents"]}
    await stage.fetch_all(wanted)
    paths = [stage.folder / name for name in wanted]
    embedded = await _embedded(stage, ports, paths, settings.embedding_model, prefix)
    spec = {
        "documents": paths,
        "rejected": listed["rejected"],
        "held_out": settings.held_out,
        "rows_per_chunk": settings.rows_per_chunk,
        "near": None if embedded is None else await _near(stage, embedded, settings.duplicate_similarity),
        "plan": made,
    }
    found = await stage.run(PLAN, spec, LIMITS, f"planning {archive}", _TOO_COMPLEX)
    if found["chunks"] == found["held_out"]:
        message = (
            f"All {found['chunks']} chunks of the archive are held out and {found['duplicates']} are duplicates of"
            " them, so there is nothing to train on. Hold out a smaller share, or add documents."
        )
        return DatasetFailed(code="nothing_to_train_on", message=message)
    blob = await stage.blobs.store(f"{prefix}/plan.json", made, "application/json")
    return CorpusPlanned(plan=blob, embedded=embedded, **found)


async def _embedded(
    stage: ChildStage, ports: PlanPorts, paths: Sequence[Path], name: str, prefix: str
) -> Embedded | None:
    """Return the vectors of all chunks, None where no model is to make them."""
    if name in ("", NO_EMBEDDING):
        return None
    tenant = stage.control.tenant
    view = await embedding_model(ports.documents, tenant, name)
    model = Embedding(ports.complete, stage.blobs, tenant, name, ManifestRef.model_validate(view["manifest"]))
    return await model.of(await asyncio.to_thread(_texts, paths), f"{prefix}/chunks", PASSAGE)


def _texts(paths: Sequence[Path]) -> list[tuple[str, str]]:
    return [(chunk.id, chunk.text) for path in paths for chunk in _READER.decode(path.read_bytes()).chunks]


async def _near(stage: ChildStage, embedded: Embedded, similarity: float) -> dict[str, Any]:
    """Return what the child wants to know of vectors."""
    path = await stage.fetch(embedded.vectors, "chunks.f32")
    return {"vectors": path, "dimensions": embedded.dimensions, "similarity": similarity}


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the verdict on an archive whose planning failed too often."""
    message = f"The archive could not be planned, for a reason of the platform's own: {why}. Upload it again."
    return [_failed(claim.control, "planning_failed", message)]


def _nothing_readable(rejected: int, first: dict[str, Any] | None) -> DatasetFailed:
    """Return why there is nothing to train on; `first` is what was said of the first document that was rejected."""
    if not rejected:
        text = "The archive has no documents to learn from. Put PDF, DOCX, HTML, Markdown, text or table files in it."
        return DatasetFailed(code="no_documents", message=text)
    count = "The one document was" if rejected == 1 else f"All {rejected} documents of the archive were"
    text = f"{count} rejected, so there is nothing to train on."
    if first is None:
        return DatasetFailed(code="no_documents", message=f"{text} Mend what their errors name and upload them again.")
    code = first["code"] if rejected == 1 else "no_documents"
    which = "" if rejected == 1 else "The first, "
    return DatasetFailed(code=code, message=f"{text} {which}{first['path'][-200:]!r}: {first['message']}")


def _failed(control: Control, code: str, message: str) -> Event:
    return _event(control, DatasetFailed(code=code, message=message))


def _event(control: Control, verdict: Payload) -> Event:
    archive = control.inputs["archive"]
    return event_of(control, verdict, archive, "plan", subject=archive)
