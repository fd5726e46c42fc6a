"""Joins a planned corpus with its documents' rows: whichever ends last opens the stage that makes the data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contracts.canonical import compact
from contracts.documents.facts import View
from contracts.envelope import Event
from contracts.ports import Blobs, Controls, Documents, WakeUp
from functions.assemble_dataset import core
from functions.assemble_dataset.settings import DatasetSettings

STAGE = "assemble_dataset"
TOPICS = ("corpus.planned", "examples.synthesized", "examples.failed", "dataset.recurated")
JOINS = ("archives", "documents")


async def on_examples_ended(event: Event, blobs: Blobs, documents: Documents, controls: Controls, wake: WakeUp) -> None:
    """File the event in the joins, then look whether the rows of every planned document have ended."""
    await documents.apply(event, *JOINS)
    said: dict[str, Any] = event.data.model_dump(mode="json")
    await settle(said.get("archive", event.subject), blobs, documents, controls, wake, event.id)


async def settle(
    archive: str,
    blobs: Blobs,
    documents: Documents,
    controls: Controls,
    wake: WakeUp,
    event_id: str | None = None,
    unknown_since: int = -1,
) -> None:
    """Open the assembly of an archive whose documents all have their rows; any other is left alone.

    One that waits since `unknown_since` (ms) for a source of which nothing is known ends. The documents are listed in
    a blob: ten thousand of them have no place in a control document.
    """
    found = await documents.get("archives", archive)
    if found is None or found["assembled"] or found["failed"] or found["deleted"]:
        return
    subject, tenant = f"{archive}/dataset", found["tenant"]
    if found["source"] is None:
        inputs = await _planned(found, documents)
    else:
        waits = await controls.open(subject, tenant, STAGE, {}, ready=False)
        inputs = await _of_source(found, documents, waits.opened_at <= unknown_since)
    if inputs is not None:
        inputs = await _listed(inputs, f"{tenant}/{archive}/dataset", blobs)
        await controls.open(subject, tenant, STAGE, {"event_id": event_id, "archive": archive, **inputs})
        wake(STAGE)


async def _listed(inputs: dict[str, Any], prefix: str, blobs: Blobs) -> dict[str, Any]:
    """Return inputs whose documents, made and rejected, stand in blobs; a refusal has none."""
    if "documents" not in inputs:
        return inputs
    kept = dict(inputs)
    for name, told in (("documents", "listed"), ("rejected", "rejected")):
        blob = await blobs.put(f"{prefix}.{name}.json", compact(kept.pop(name)), "application/json")
        kept[told] = blob.model_dump(mode="json")
    return kept


async def _of_source(archive: View, documents: Documents, late: bool) -> dict[str, Any] | None:
    """Return the inputs of a re-curation, or why there is none; None while its source is not ready."""
    source = await documents.get("archives", archive["source"])
    refused = core.unfit(archive, source, late)
    if refused is not None:
        return {"refused": {"code": refused.code, "message": refused.message}}
    if source is None or source["tenant"] != archive["tenant"] or not source["assembled"]:
        return None
    inputs = await _planned(source, documents)
    bounds = {name: archive["uploaded"][name] for name in ("min_score", "max_score")}
    return inputs and {**inputs, **bounds, "report": source["assembled"]["report"]}


async def _planned(archive: View, documents: Documents) -> dict[str, Any] | None:
    """Return the plan, chunks and examples of an archive, None while some are missing."""
    of_it = {"archive": archive["id"], "made": True}
    if not archive["planned"] or await documents.count("documents", of_it) < archive["planned"]["documents"]:
        return None
    rejected = await documents.find("documents", {"archive": archive["id"], "rejected": {"$ne": None}}, [("id", 1)])
    made = sorted(await documents.find("documents", of_it), key=lambda each: str(each["id"]))
    return {
        "plan": archive["planned"]["plan"],
        "embedded": archive["planned"].get("embedded"),
        "documents": [
            {
                "chunks": each["chunked"]["chunks"],
                "examples": (each["examples"] or {}).get("examples"),
                "language": (each["examples"] or each["failed"] or {}).get("language", ""),
                "lacks": (each["failed"] or {}).get("code"),
                "tried": (each["examples"] or each["failed"] or {}).get("tried", ()),
            }
            for each in made
        ],
        "members": archive["extracted"] and archive["extracted"]["manifest"],
        "rejected": [core.reason(each["rejected"]) for each in rejected],
    }


async def retake(
    archive: View,
    blobs: Blobs,
    documents: Documents,
    controls: Controls,
    wake: WakeUp,
    now: Callable[[], int],
    settings: DatasetSettings,
) -> None:
    """Look once more whether a data set can be made; one that waits too long for an unknown source ends."""
    if archive["source"] is not None:
        since = now() - int(settings.file_wait_seconds * 1000)
        await settle(archive["id"], blobs, documents, controls, wake, unknown_since=since)
    elif archive["planned"]:
        await settle(archive["id"], blobs, documents, controls, wake)
