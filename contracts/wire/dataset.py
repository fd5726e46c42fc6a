"""Data sets as served: how far they are, where a row comes from, what a page led to. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from contracts.corpus import Chunk, Chunks, RowOrigin, Span, Split
from contracts.events.corpus import DatasetAsked
from contracts.wire.dataset_answers import (
    DatasetProgress,
    DatasetRow,
    LeftOut,
    Lineage,
    LineageChunk,
    LineageJob,
    PageSpan,
    RejectedDocument,
    RowKind,
    RowMention,
    RowRole,
    RowSource,
    SeenBy,
    Stage,
)
from contracts.wire.openai import TRAINING

View = Mapping[str, Any]

DISTRACTOR: RowRole = "distractor"
BOUNDS = ("min_score", "max_score")
"""What a data set was re-curated by, besides its `source`."""
SPLITS: tuple[Split, ...] = ("train", "held_out")


def row_id(origin: RowOrigin, split: Split = "train") -> str:
    """Return a row's id inside its data set, to page on with `after`; rows are counted in each split."""
    return f"{split}-{origin.line}"


def line_of(row: str, split: Split = "train") -> int:
    """Return the 1-based line that `row_id` was made of; raises ValueError for any other text."""
    prefix, _, line = row.rpartition("-")
    if prefix != split or not (line.isascii() and line.isdecimal()):
        raise ValueError(f"{row[:80]!r} is no row of this data set; its rows are named {split}-1, {split}-2, …")
    return int(line)


def row(origin: RowOrigin, messages: Sequence[Mapping[str, Any]], split: Split = "train") -> DatasetRow:
    """Return a row with its way back: chunk, page, span, the file's hash, who wrote it, scores.

    `source` is null for a general row; its span and quote are null where the context rightly does not say.
    """
    return {
        "id": row_id(origin, split),
        "object": "dataset.row",
        "line": origin.line,
        "split": split,
        "kind": kind(origin),
        "messages": [dict(message) for message in messages],
        "example": origin.example,
        "variant": origin.variant,
        "source": _source(origin) if origin.document else None,
        "position": origin.position,
        "distractors": list(origin.distractors),
        "generator": origin.generator,
        "scores": dict(origin.scores),
    }


def blobs(assembled: View) -> dict[Split, tuple[str, str]]:
    """Return split → the keys of its rows and of their lineage, from what `dataset.assembled` said."""
    found: dict[Split, tuple[str, str]] = {"train": (assembled["blob"]["key"], assembled["lineage"]["key"])}
    if assembled["held_out"] is not None:
        key: str = assembled["held_out"]["key"]
        found["held_out"] = (key, key.removesuffix(".jsonl") + ".lineage.jsonl")
    return found


def kind(origin: RowOrigin) -> RowKind:
    """Return `answered`, `absent` (the right answer is a refusal) or `general` (no document is behind it)."""
    if not origin.document:
        return "general"
    return "absent" if origin.position is None else "answered"


def lineage(
    chunks: Chunks,
    page: int | None,
    origins: Mapping[Split, Iterable[RowOrigin]],
    jobs: Sequence[LineageJob] = (),
) -> Lineage:
    """Return what became of a document's page (None: of all pages): its chunks, their rows, then the jobs.

    `jobs` are those on the data set, shown where one of these rows is trained on. `origins` are the data set's lineage,
    which is read once. A row stands under the chunk that its question is about (`answered`; `absent`, where that chunk
    was left out) and under those that it shows beside (`distractor`).
    """
    shown = on_page(chunks, page)
    rows: dict[str, list[RowMention]] = {chunk.id: [] for chunk in shown}
    for split, lines in origins.items():
        for origin in lines:
            roles: list[tuple[str, RowRole]] = [(origin.chunk, kind(origin))]
            for chunk, role in (*roles, *((other, DISTRACTOR) for other in origin.distractors)):
                if chunk in rows:
                    rows[chunk].append(_mention(origin, split, role))
    trained = any(mention["split"] == "train" for mentions in rows.values() for mention in mentions)
    return {
        "id": chunks.document,
        "object": "lineage",
        "document": chunks.document,
        "path": chunks.path,
        "sha256": chunks.sha256,
        "page": page,
        "chunks": [_chunk(chunk, rows[chunk.id]) for chunk in shown],
        "jobs": list(jobs) if trained else [],
        "rejected": None,
    }


def on_page(chunks: Chunks, page: int | None) -> list[Chunk]:
    """Return a document's chunks that stand on a page, at least in part; all of them where none is named."""
    return [chunk for chunk in chunks.chunks if page is None or any(span.page == page for span in chunk.spans)]


def uncut(document: View, page: int | None) -> Lineage:
    """Return the lineage of a document that has no chunks (yet); `rejected` says why it never will."""
    said = document["rejected"]
    why: RejectedDocument | None = (
        {"code": said["code"], "message": said["message"], "page": said["page"]} if said else None
    )
    return {
        "id": document["id"],
        "object": "lineage",
        "document": document["id"],
        "path": document["path"],
        "sha256": None,
        "page": page,
        "chunks": [],
        "jobs": [],
        "rejected": why,
    }


def using(job: View, file: str, models: Sequence[View]) -> LineageJob:
    """Return a job on a file, and what it made: the tuned model and its checkpoints."""
    return {
        "id": job["id"],
        "object": "fine_tuning.job",
        "status": job["status"],
        "model": job["created"]["model"],
        "used_as": "training_file" if job["created"]["training_file"] == file else "validation_file",
        "fine_tuned_model": job["succeeded"]["fine_tuned_model"] if job["succeeded"] else None,
        "models": [{"id": model["id"], "deleted": model["deleted"]} for model in models],
    }


def seen_by(jobs: Iterable[LineageJob]) -> list[SeenBy]:
    """Return the models of `jobs` (as `using` shows them), each with its job: what a deletion does not take back."""
    return [{**model, "job": job["id"], "used_as": job["used_as"]} for job in jobs for model in job["models"]]


def progress(
    archive: View, counts: Mapping[str, int], rejected: Sequence[View] = (), met: Sequence[Mapping[str, str]] = ()
) -> DatasetProgress:
    """Return how far an archive is; `counts` are documents extracted, rejected, chunked, cut and made, and rows kept.

    Of one that was re-curated, `documents` are those of its `source`. `rows_made` are questions before assembly, which
    makes several rows of one; `rows` are those of the data set. `left_out` are the first members that were skipped
    and the first documents `rejected`, each with its reason. `warnings` are those of the data set; until it is there,
    what its making has `met` so far.
    """
    assembled, uploaded = archive["assembled"], archive["uploaded"]
    known = assembled or {}
    return {
        "object": "dataset",
        "stage": stage(archive, counts),
        "source": archive["source"],
        "min_score": uploaded.get("min_score", {}),
        "max_score": uploaded.get("max_score", {}),
        "documents": {
            "total": archive["documents"],
            "extracted": counts["extracted"],
            "rejected": counts["rejected"],
            "chunked": counts["chunked"],
        },
        "left_out": [_left_out(each) for each in (*_skipped(archive), *rejected)],
        "rows_made": counts["kept"],
        "rows": known.get("rows"),
        "held_out_rows": known.get("held_out_rows"),
        "generator": known.get("generator"),
        "version": known.get("version"),
        "asked": _asked(uploaded.get("dataset") or {}),
        "coverage": (assembled or archive["failed"] or {}).get("coverage"),
        "warnings": list(known.get("warnings", ())) if known else [each["message"] for each in met],
    }


def _asked(said: View) -> DatasetAsked:
    return cast("DatasetAsked", {name: value for name, value in said.items() if value is not None})


def _left_out(said: View) -> LeftOut:
    return {
        "path": said.get("path"),
        "code": said.get("code"),
        "message": said.get("message"),
        "page": said.get("page"),
    }


def _skipped(archive: View) -> Sequence[View]:
    extracted = archive.get("extracted") or {}
    first: Sequence[View] = extracted.get("first_skipped", ())
    return first


def stage(archive: View, counts: Mapping[str, int]) -> Stage:
    """Return the step that an archive is at, in words."""
    planned, total = archive["planned"], archive["documents"]
    if archive["failed"]:
        return "failed"
    if archive["assembled"]:
        return "ready"
    if archive["uploaded"]["purpose"] != TRAINING:
        return "stored"
    if archive["source"]:
        return "assembling"
    if planned:
        return "making rows" if counts["made"] < planned["documents"] else "assembling"
    if total is None:
        return "unpacking"
    return "reading documents" if counts["cut"] < total else "planning"


def _source(origin: RowOrigin) -> RowSource:
    return {
        "document": origin.document,
        "path": origin.path,
        "sha256": origin.sha256,
        "chunk": origin.chunk,
        "page": origin.span.page if origin.span else None,
        "span": _span(origin.span) if origin.span else None,
        "quote": origin.quote if origin.span else None,
    }


def _chunk(chunk: Chunk, rows: Sequence[RowMention]) -> LineageChunk:
    return {
        "id": chunk.id,
        "index": chunk.index,
        "heading": chunk.heading,
        "tokens": chunk.tokens,
        "spans": [_span(span) for span in chunk.spans],
        "rows": list(rows),
    }


def _mention(origin: RowOrigin, split: Split, role: RowRole) -> RowMention:
    span = origin.span if role == "answered" else None
    return {
        "id": row_id(origin, split),
        "line": origin.line,
        "split": split,
        "role": role,
        "example": origin.example,
        "variant": origin.variant,
        "span": _span(span) if span else None,
    }


def _span(span: Span) -> PageSpan:
    return {"page": span.page, "start": span.start, "end": span.end}
