"""Data sets as served: where a row comes from, and what a page led to. Pure functions from what lies in the blobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from contracts.corpus import Chunk, Chunks, RowOrigin, Span, Split

Object = dict[str, Any]


def row_id(origin: RowOrigin, split: Split = "train") -> str:
    """Return a row's id inside its data set, to page on with `after`; rows are counted in each split."""
    return f"{split}-{origin.line}"


def line_of(row: str, split: Split = "train") -> int:
    """Return the 1-based line that `row_id` was made of; raises ValueError for any other text."""
    prefix, _, line = row.rpartition("-")
    if prefix != split or not (line.isascii() and line.isdecimal()):
        raise ValueError(f"{row[:80]!r} is no row of this data set; its rows are named {split}-1, {split}-2, …")
    return int(line)


def row(origin: RowOrigin, messages: Sequence[Mapping[str, Any]], split: Split = "train") -> Object:
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


def kind(origin: RowOrigin) -> str:
    """Return `answered`, `absent` (the right answer is a refusal) or `general` (no document is behind it)."""
    if not origin.document:
        return "general"
    return "absent" if origin.position is None else "answered"


def lineage(
    chunks: Chunks,
    page: int | None,
    origins: Mapping[Split, Iterable[RowOrigin]],
    jobs: Sequence[Mapping[str, Any]] = (),
) -> Object:
    """Return what became of a document's page (None: of all pages): its chunks, their rows, then `jobs` as given.

    `origins` are the data set's lineage, which is read once. A row stands under the chunk that its question is about
    (`answered`; `absent`, where that chunk was left out) and under those that it shows beside (`distractor`).
    """
    shown = [chunk for chunk in chunks.chunks if page is None or any(span.page == page for span in chunk.spans)]
    rows: dict[str, list[Object]] = {chunk.id: [] for chunk in shown}
    for split, lines in origins.items():
        for origin in lines:
            for chunk, role in ((origin.chunk, kind(origin)), *((other, "distractor") for other in origin.distractors)):
                if chunk in rows:
                    rows[chunk].append(_mention(origin, split, role))
    return {
        "object": "lineage",
        "document": chunks.document,
        "path": chunks.path,
        "sha256": chunks.sha256,
        "page": page,
        "chunks": [_chunk(chunk, rows[chunk.id]) for chunk in shown],
        "jobs": [dict(job) for job in jobs],
    }


def _source(origin: RowOrigin) -> Object:
    return {
        "document": origin.document,
        "path": origin.path,
        "sha256": origin.sha256,
        "chunk": origin.chunk,
        "page": origin.span.page if origin.span else None,
        "span": _span(origin.span) if origin.span else None,
        "quote": origin.quote if origin.span else None,
    }


def _chunk(chunk: Chunk, rows: Sequence[Object]) -> Object:
    return {
        "id": chunk.id,
        "index": chunk.index,
        "heading": chunk.heading,
        "tokens": chunk.tokens,
        "spans": [_span(span) for span in chunk.spans],
        "rows": list(rows),
    }


def _mention(origin: RowOrigin, split: Split, role: str) -> Object:
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


def _span(span: Span) -> Object:
    return span.model_dump(mode="json")
