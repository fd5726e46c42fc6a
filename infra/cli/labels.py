"""What `temper trace` calls things: one line for each, from what the read models and the lineage say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from contracts.corpus import Chunk, Example, RowOrigin, Split
from contracts.wire import dataset
from functions.assemble_dataset.core import RowSettings, out_of_bounds

View = Mapping[str, Any]
Origins = Mapping[Split, Sequence[RowOrigin]]
"""Lineage of rows by split."""
QUOTED = 160
"""Characters of a quote or question that are shown."""


def text(label: str, style: str = "") -> Text:
    """Return a label as it stands: what documents and clients wrote is no markup and moves no cursor."""
    return Text("".join(each if each.isprintable() else " " for each in label), style)


def quoted(said: str) -> str:
    """Return the beginning of a text, in quotation marks."""
    plain = " ".join(said.split())
    return f"“{plain[:QUOTED]}{'…' if len(plain) > QUOTED else ''}”"


def file_label(file: View) -> str:
    """Return a file: name, format, purpose, owner."""
    gone = ", deleted" if file["deleted"] else ""
    return f"{file['id']} {file['filename']} ({file['format']}, {file['purpose']}, tenant {file['tenant']}{gone})"


def why_unused(example: Example, archive: View) -> str:
    """Return why a question is in no data set, or not in that of `archive`."""
    if example.code:
        return f"rejected: {example.code}: {example.message}"
    bounds = {name: archive["uploaded"].get(name, {}) for name in dataset.BOUNDS}
    reason = out_of_bounds(example, RowSettings(**bounds))
    return f"left out of {archive['id']}: {reason}{scores(example.scores)}" if reason else "in no data set (yet)"


def archive_label(archive: View) -> str:
    """Return the data set of an archive, or why there is none."""
    made, failed, uploaded = archive["assembled"], archive["failed"], archive["uploaded"]
    least, most = (uploaded.get(name, {}) for name in dataset.BOUNDS)
    bounds = [f"{name} at least {bound}" for name, bound in sorted(least.items())]
    bounds += [f"{name} at most {bound}" for name, bound in sorted(most.items())]
    if made:
        rows = ", ".join([count(made["rows"], "row"), f"{made['held_out_rows']} held out", *bounds])
        return f"data set {made['version'][:12]}: {rows}, coverage {made['coverage']:.0%}, {made['generator']}"
    return f"no data set: {failed['code']}: {failed['message']}" if failed else "no data set yet"


def document_label(document: View) -> str:
    """Return a document: how much was read of it, or why nothing was."""
    label = f"{document['id']} {document['path'] or ''}".rstrip()
    if document["rejected"]:
        return f"{label}: rejected: {document['rejected']['code']}: {document['rejected']['message']}"
    pages = f", {count(document['extracted']['pages'], 'page')}" if document["extracted"] else ""
    chunks = f", {count(document['chunked']['n_chunks'], 'chunk')}" if document["chunked"] else ""
    kept = f", {count(document['examples']['kept'], 'question')}" if document["examples"] else ""
    return label + pages + chunks + kept


def count(number: int, noun: str) -> str:
    """Return a number of things."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def chunk_label(chunk: Chunk) -> str:
    """Return a chunk: what it is headed, how long it is."""
    heading = f" {quoted(chunk.heading)}" if chunk.heading else ""
    return f"{chunk.id}{heading} ({chunk.tokens} tokens)"


def mentions(chunk: str, origins: Origins) -> str:
    """Return in words how many rows show a chunk, and in what role."""
    counts = Counter(
        "beside another" if origin.chunk != chunk else "trained on" if split == "train" else "held out"
        for split, own in origins.items()
        for origin in own
        if chunk in (origin.chunk, *origin.distractors)
    )
    return (
        ", ".join(f"{count(number, 'row')} {role}" for role, number in sorted(counts.items(), reverse=True))
        or "no rows"
    )


def row_label(origin: RowOrigin, split: Split) -> str:
    """Return a row: its kind and variant, and where the right passage stands."""
    place = "" if origin.position is None else f", shown at place {origin.position + 1}"
    beside = f" of {1 + len(origin.distractors)}" if place else ""
    return f"{dataset.row_id(origin, split)} ({dataset.kind(origin)}, variant {origin.variant}{place}{beside})"


def scores(found: Mapping[str, float]) -> str:
    """Return scores, each after a comma."""
    return "".join(f", {name} {value:.2f}" for name, value in sorted(found.items()))


def job_label(job: View) -> str:
    """Return a job: how it is, whose it is."""
    return f"{job['id']} ({job['status']}, tenant {job['tenant']})"


def model_label(model: View) -> str:
    """Return a model: its kind and step, whose it is."""
    gone = ", deleted" if model["deleted"] else ""
    step = f", step {model['step']}" if model["step"] is not None else ""
    return f"{model['id']} ({model['kind']}{step}, tenant {model['tenant']}{gone})"
