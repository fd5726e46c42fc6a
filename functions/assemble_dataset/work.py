"""Assembly under a lease: plan, chunks and examples come to scratch, a limited child makes the data set's files."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.blobs import BlobRef
from contracts.controls import Claim, Control
from contracts.envelope import Event, derived_id, make
from contracts.events.corpus import DatasetAssembled, DatasetFailed
from contracts.ports import BlobMismatchError, Blobs, Child, Lease
from functions.assemble_dataset.core import SETTLED, Settings

BUILD = "functions.assemble_dataset.build"
MEMORY_BYTES = 4 * 2**30
SECONDS = 3600.0
_TOO_LARGE = 3  # what build.py exits with when memory runs out
_FETCHES = 3  # a transfer may be damaged; what is stored stays damaged
_AT_ONCE = 8


async def work(
    lease: Lease, blobs: Blobs, child: Child, scratch: Path, settings: Settings | None = None
) -> list[Event]:
    """Return `dataset.assembled`, or the `dataset.failed` that says why there is none.

    The control document's subject is `{archive}/dataset`, the event's is the archive. Its inputs: `event_id` (the
    cause), `archive`, `plan` (a BlobRef) and `listed` (a BlobRef of a JSON array), in any order: {chunks (a BlobRef),
    examples (a BlobRef, or null where there are none)} for every document that the plan has chunks of. A re-curation
    has those of its source, and `min_score`, `max_score`, and `report` (a BlobRef): rows are made with the settings of
    that report, so that the scores alone make a difference. `refused` (code, message) is there instead of all of it.
    Files lie under `{tenant}/{archive}/dataset/{version}/`: rows.jsonl, held_out.jsonl, each with its lineage
    (lineage.jsonl, held_out.lineage.jsonl), and report.json.
    """
    control = lease.claim.control
    if refused := control.inputs.get("refused"):
        return [_event(control, DatasetFailed(**refused))]
    chosen = await lease.record("settings", await _chosen(control.inputs, settings or Settings(), blobs))
    name = control.subject.replace("/", "-")
    folder = (scratch / f"{name}-{lease.claim.fence}").resolve()  # the child works in another folder
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return [_event(control, await _dataset(control, Settings.model_validate(chosen), blobs, child, folder))]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _chosen(inputs: Mapping[str, Any], settings: Settings, blobs: Blobs) -> dict[str, Any]:
    """Return the settings that rows are made with, as JSON."""
    now = settings.model_dump(mode="json")
    if "report" not in inputs:
        return now
    source = await asyncio.to_thread(json.loads, await blobs.get(inputs["report"]["key"]))
    was = {name: value for name, value in source["settings"].items() if name in SETTLED}
    return {**now, **was, "min_score": inputs["min_score"], "max_score": inputs["max_score"]}


def _event(control: Control, data: DatasetAssembled | DatasetFailed) -> Event:
    return make(
        data,
        subject=control.inputs["archive"],
        tenant=control.tenant,
        id=derived_id(control.subject, "end"),
        cause=control.inputs["event_id"],
    )


async def _dataset(
    control: Control, settings: Settings, blobs: Blobs, child: Child, folder: Path
) -> DatasetAssembled | DatasetFailed:
    spec = folder / "spec.json"
    spec.write_text(json.dumps(await _spec(control.inputs, settings, blobs, folder)), encoding="utf-8")
    result = await child.run(BUILD, spec, memory_bytes=MEMORY_BYTES, seconds=SECONDS)
    if result.code < 0 or result.code == _TOO_LARGE:
        message = "The archive's data set could not be made within the limits of memory and time. Split the archive."
        return DatasetFailed(code="too_large", message=message)
    if result.code:
        raise result.failed(f"assembling {control.subject}")
    found = json.loads(result.stdout)
    if not found.pop("ok"):
        return DatasetFailed(**found)
    prefix = f"{control.tenant}/{control.inputs['archive']}/dataset/{found['version']}"

    async def store(name: str, media_type: str = "application/jsonl") -> BlobRef:
        return await blobs.store(f"{prefix}/{name}", folder / name, media_type)

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


async def _spec(inputs: Mapping[str, Any], settings: Settings, blobs: Blobs, folder: Path) -> dict[str, Any]:
    """Bring everything to `folder` and return what the child wants to know."""
    wanted: list[tuple[BlobRef, Path]] = []

    def brought(dump: Mapping[str, Any] | None, name: str) -> str | None:
        if dump is None:
            return None
        path = folder / name
        wanted.append((BlobRef.model_validate(dump), path))
        return str(path)

    spec = {
        "plan": brought(inputs["plan"], "plan.json"),
        "documents": [
            (brought(entry["chunks"], f"{number}.chunks.json"), brought(entry["examples"], f"{number}.examples.jsonl"))
            for number, entry in enumerate(json.loads(await blobs.get(inputs["listed"]["key"])))
        ],
        "general": brought(None if settings.general is None else settings.general.model_dump(), "general.jsonl"),
        "folder": str(folder),
        "settings": settings.model_dump(mode="json"),
    }
    gate = asyncio.Semaphore(_AT_ONCE)
    try:
        async with asyncio.TaskGroup() as group:
            for blob, path in wanted:
                group.create_task(_fetch(blobs, blob, path, gate))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors  # whoever runs this looks for UnavailableError itself
    return spec


async def _fetch(blobs: Blobs, blob: BlobRef, path: Path, gate: asyncio.Semaphore) -> None:
    async with gate:
        for left in reversed(range(_FETCHES)):
            try:
                await blobs.fetch(blob, path)
            except BlobMismatchError:
                if not left:
                    raise
            else:
                return


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the failure of a data set that could not be made in several attempts."""
    message = f"The data set could not be made, for a reason of the platform's own: {why}. Upload it again."
    return [_event(claim.control, DatasetFailed(code="assembly_failed", message=message))]
