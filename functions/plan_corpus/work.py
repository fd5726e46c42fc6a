"""Planning under a lease: all chunks come to scratch, a limited child plans, the plan goes to the store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from contracts.blobs import BlobRef
from contracts.controls import Claim, Control
from contracts.envelope import Event, derived_id, make
from contracts.events.corpus import CorpusPlanned, DatasetFailed
from contracts.ports import Blobs, Child, Lease

PLAN = "functions.plan_corpus.plan"
MEMORY_BYTES = 4 * 2**30
SECONDS = 1800.0
_TOO_COMPLEX = 3  # what plan.py exits with when memory runs out


async def work(
    lease: Lease, blobs: Blobs, child: Child, scratch: Path, held_out: float, rows_per_chunk: int
) -> list[Event]:
    """Return the one verdict on the archive that `lease` holds: `corpus.planned`, or `dataset.failed`.

    The control's subject is `{archive}/plan`. Its inputs: `event_id` (what led to this), `archive` (a file id) and
    `listed`, a BlobRef of JSON with `documents` (a list of `document`, an id, and `chunks`, a BlobRef of
    `contracts.corpus.Chunks`) and `rejected` (ids of documents), in any order. `held_out` is the share of tokens that
    training never sees.
    """
    control = lease.claim.control
    archive, listed = control.inputs["archive"], json.loads(await blobs.get(control.inputs["listed"]["key"]))
    documents, rejected = listed["documents"], listed["rejected"]
    if not documents:
        return [_failed(control, "no_documents", _nothing_readable(len(rejected)))]
    folder = (scratch / f"{archive}-plan-{lease.claim.fence}").resolve()  # the child works in another folder
    folder.mkdir(parents=True, exist_ok=True)
    try:
        settings = await lease.record("planning", {"held_out": held_out, "rows_per_chunk": rows_per_chunk})
        spec, made = folder / "spec.json", folder / "plan.json"
        paths = await _fetch(documents, blobs, folder)
        spec.write_text(json.dumps({"documents": paths, "rejected": rejected, "plan": str(made), **settings}))
        result = await child.run(PLAN, spec, memory_bytes=MEMORY_BYTES, seconds=SECONDS)
        if result.code < 0 or result.code == _TOO_COMPLEX:
            message = "The documents could not be compared within the limits of memory and time. Split the archive."
            return [_failed(control, "corpus_too_complex", message)]
        if result.code:
            raise result.failed(f"planning {archive}")
        found = json.loads(result.stdout)
        if found["chunks"] == found["held_out"]:
            message = (
                f"All {found['chunks']} chunks of the archive are held out and {found['duplicates']} are duplicates of"
                " them, so there is nothing to train on. Hold out a smaller share, or add documents."
            )
            return [_failed(control, "nothing_to_train_on", message)]
        blob = await blobs.store(f"{control.tenant}/{archive}/plan.json", made, "application/json")
        return [_event(control, CorpusPlanned(plan=blob, **found))]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the verdict on an archive whose planning failed too often."""
    message = f"The archive could not be planned, for a reason of the platform's own: {why}. Upload it again."
    return [_failed(claim.control, "planning_failed", message)]


async def _fetch(documents: list[dict[str, Any]], blobs: Blobs, folder: Path) -> list[str]:
    """Bring the chunks of all documents and return their paths."""
    paths = []
    for each in documents:
        path = folder / f"{each['document']}.json"
        await blobs.fetch(BlobRef.model_validate(each["chunks"]), path)
        paths.append(str(path))
    return paths


def _nothing_readable(rejected: int) -> str:
    if not rejected:
        return "The archive has no documents to learn from. Put PDF, DOCX, HTML, Markdown, text or table files in it."
    count = "The archive's one document was" if rejected == 1 else f"All {rejected} documents of the archive were"
    return (
        f"{count} rejected, so there is nothing to train on. Mend what their errors name and upload the archive again."
    )


def _failed(control: Control, code: str, message: str) -> Event:
    return _event(control, DatasetFailed(code=code, message=message))


def _event(control: Control, verdict: CorpusPlanned | DatasetFailed) -> Event:
    archive = control.inputs["archive"]
    return make(
        verdict,
        subject=archive,
        tenant=control.tenant,
        id=derived_id(archive, "plan"),
        cause=control.inputs["event_id"],
    )
