"""Planning under a lease: all chunks come to scratch, a limited child plans, the plan goes to the store."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from contracts.blobs import BlobRef
from contracts.controls import Claim, Control
from contracts.envelope import Event
from contracts.events import Payload
from contracts.events.corpus import CorpusPlanned, DatasetFailed
from contracts.ports import Blobs, Child, Lease
from functions._shared.stage import ChildStage, Limits, event_of, run_stage

PLAN = "functions.plan_corpus.plan"
LIMITS = Limits(memory_bytes=4 * 2**30, seconds=1800.0)
_TOO_COMPLEX = DatasetFailed(
    code="corpus_too_complex",
    message="The documents could not be compared within the limits of memory and time. Split the archive.",
)


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
    listed = json.loads(await blobs.get(control.inputs["listed"]["key"]))
    if not listed["documents"]:
        return [_event(control, _nothing_readable(len(listed["rejected"]), listed.get("first_rejected")))]
    settings = await lease.record("planning", {"held_out": held_out, "rows_per_chunk": rows_per_chunk})
    verdict = await run_stage(lease, blobs, child, scratch, partial(_plan, listed=listed, settings=settings))
    return [_event(control, verdict)]


async def _plan(stage: ChildStage, listed: dict[str, Any], settings: dict[str, Any]) -> Payload:
    archive, made = stage.control.inputs["archive"], stage.folder / "plan.json"
    wanted = {f"{each['document']}.json": BlobRef.model_validate(each["chunks"]) for each in listed["documents"]}
    await stage.fetch_all(wanted)
    paths = [stage.folder / name for name in wanted]
    spec = {"documents": paths, "rejected": listed["rejected"], "plan": made, **settings}
    found = await stage.run(PLAN, spec, LIMITS, f"planning {archive}", _TOO_COMPLEX)
    if found["chunks"] == found["held_out"]:
        message = (
            f"All {found['chunks']} chunks of the archive are held out and {found['duplicates']} are duplicates of"
            " them, so there is nothing to train on. Hold out a smaller share, or add documents."
        )
        return DatasetFailed(code="nothing_to_train_on", message=message)
    blob = await stage.blobs.store(f"{stage.control.tenant}/{archive}/plan.json", made, "application/json")
    return CorpusPlanned(plan=blob, **found)


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
