"""What the read models and the blobs know of where things came from and what they led to; for the API and the CLI."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from contracts.controls import EXAMPLES, troubles
from contracts.corpus import Chunks, RowOrigin, Split
from contracts.erasure import of_jobs
from contracts.ports import Blobs, Controls, Documents
from contracts.wire import dataset
from contracts.wire.dataset_answers import DatasetProgress, LineageJob
from functions.edge import lines

AT_WORK = 20
"""Documents that are looked at for what their work has met: it takes them in this order."""
MOST_TOLD = 20
"""Documents that a file shows with the reason why nothing is made of them; the report has all."""
Object = dict[str, Any]
View = Mapping[str, Any]


async def jobs_using(documents: Documents, tenant: str, file: str) -> list[LineageJob]:
    """Return the tenant's jobs on a file with the models that they made, oldest first."""
    jobs = await documents.find("jobs", {"tenant": tenant, **of_jobs(file)}, [("created_at", 1), ("id", 1)])
    made = {"tenant": tenant, "job": {"$in": [job["id"] for job in jobs]}}
    models = await documents.find("models", made, [("step", 1), ("id", 1)]) if jobs else []
    return [dataset.using(job, file, [model for model in models if model["job"] == job["id"]]) for job in jobs]


async def with_documents(documents: Documents, archive: View) -> View:
    """Return the archive that an archive's documents are in: itself, or the one that it was re-curated of."""
    if archive["source"] is None:
        return archive
    source = await documents.get("archives", archive["source"])
    return source if source is not None and source["tenant"] == archive["tenant"] else archive


async def recurated_of(documents: Documents, tenant: str, file: str) -> list[Object]:
    """Return the tenant's files that were re-curated of a file, deleted ones too, oldest first."""
    of_it = {"tenant": tenant, "source": file}
    return await documents.find("files", of_it, [("created_at", 1), ("id", 1)])


async def troubles_of(documents: Documents, controls: Controls, archive: View) -> list[dict[str, str]]:
    """Return what the work on an archive's questions has met so far, each once, while it goes on; at most ten."""
    if archive["source"] or not archive["planned"] or archive["assembled"] or archive["failed"]:
        return []
    unmade = await documents.find("documents", {"archive": archive["id"], "made": False}, [("id", 1)], AT_WORK)
    found = await asyncio.gather(*(controls.get(each["id"] + EXAMPLES) for each in unmade))
    said = {trouble["message"]: trouble for control in found for trouble in troubles(control)}
    return [said[message] for message in sorted(said)][:10]


async def progress(documents: Documents, archive: View, met: Sequence[Mapping[str, str]] = ()) -> DatasetProgress:
    """Return how far an archive is on its way to a data set; `met` is what the work has met."""
    home = await with_documents(documents, archive)
    of_it = {"archive": home["id"]}
    names = ("extracted", "rejected", "chunked")
    counts = await asyncio.gather(
        *(documents.count("documents", {**of_it, name: {"$ne": None}}) for name in names),
        documents.count("documents", {**of_it, "cut": True}),
        documents.count("documents", {**of_it, "made": True}),
        documents.total("documents", "examples.kept", of_it),
    )
    rejected = await documents.find("documents", {**of_it, "rejected": {"$ne": None}}, [("id", 1)], MOST_TOLD)
    shown = {**archive, "documents": home["documents"], "extracted": home["extracted"]}
    told = dict(zip((*names, "cut", "made", "kept"), counts, strict=True))
    return dataset.progress(shown, told, [each["rejected"] for each in rejected], met)


async def chunks_of(blobs: Blobs, document: View) -> Chunks | None:
    """Return a document's chunks, or None where it was not cut; raises BlobNotFoundError."""
    if document["chunked"] is None:
        return None
    stored = await blobs.get(document["chunked"]["chunks"]["key"])
    return await asyncio.to_thread(Chunks.model_validate_json, stored)


async def origins_naming(blobs: Blobs, assembled: View, names: Collection[str]) -> dict[Split, list[RowOrigin]]:
    """Return the lineage of those rows of a data set that name one of these chunks or examples."""
    found: dict[Split, list[RowOrigin]] = {}
    for split, (_, key) in dataset.blobs(assembled).items():
        found[split] = [RowOrigin.model_validate_json(line) async for line in lines.naming(blobs, key, names)]
    return found
