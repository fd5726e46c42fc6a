"""Make the data set's files: `python -m functions.assemble_dataset.build spec.json`.

The spec names `plan`, `documents` (pairs of a chunks file and an examples file or null), `written` (of each the
language that rules saw and the code of why there are no examples, or null), `tried` (who was to write), `general` (a
file of canonical chat rows or null), `near` (null, or what there is of vectors: files `chunks` and `questions` of
float32, `ids` of the questions in their order, `dimensions`, and what the report says of them), `folder` (where the
files are written) and `settings`. The verdict is printed as one JSON object.
"""

from __future__ import annotations

import gc
import hashlib
import heapq
import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from contracts.canonical import compact, sha256
from contracts.corpus import Chunks, CorpusPlan, Example, RowOrigin, Split
from contracts.wire.dataset_answers import DatasetReport, EmbeddingUsed, LeftOutMember, SampleRow
from functions._shared.child import answer
from functions.assemble_dataset import report as reporting
from functions.assemble_dataset.contexts import Draft, drafts
from functions.assemble_dataset.core import (
    Passage,
    RowSettings,
    Selection,
    draw,
    messages,
    passages,
    reason,
    refusal,
    select,
)
from functions.assemble_dataset.mine import Miner
from functions.assemble_dataset.nearest import Nearest, Vectors, chunk_rows, fused

ROWS, HELD_OUT, LINEAGE, HELD_OUT_LINEAGE, REPORT = (
    "rows.jsonl",
    "held_out.jsonl",
    "lineage.jsonl",
    "held_out.lineage.jsonl",
    "report.json",
)

LEFT_OUT = ("members", "rejected")
_ENCODER = msgspec.json.Encoder()

Row = tuple[dict[str, Any], RowOrigin]
"""What a row says besides its line, and its origin with line 0."""


def build(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Write the files and return the verdict as JSON."""
    settings, folder = RowSettings.model_validate(spec["settings"]), Path(spec["folder"])
    plan = CorpusPlan.model_validate_json(Path(spec["plan"]).read_bytes())
    # Chunks of other documents than the plan's are not read: the plan alone says what may be shown.
    planned = {chunk.document for chunk in plan.chunks}
    written: dict[str, reporting.Written] = {}
    every = _chunks(spec, written)
    shown_passages = passages(plan, (each for each in every if each.document in planned), settings.headings)
    by_chunk = {passage.chunk.id: passage for passage in shown_passages}
    selection = select(_examples(spec["documents"]), by_chunk, settings)
    made = _drafts(spec.get("near"), plan, shown_passages, selection, settings)

    answered = reporting.covered_by(selection, made["train"])
    covered, chunks = reporting.coverage(shown_passages, answered, "train")
    examples = sum(1 for example in selection.kept if example.split == "train")
    refused = refusal(len(made["train"]), covered, chunks, examples, selection.dropped["train"], settings)
    if refused is not None:
        message = " ".join((refused.message, *reporting.without_rules(shown_passages, written)))
        return {"ok": False, "code": refused.code, "message": message, "coverage": refused.coverage}

    general = _general(spec["general"], settings, len(made["train"]), plan.seed)
    tried = reporting.tried_once(spec.get("tried", ()))
    used = _used(spec.get("near"), plan)
    page = reporting.report(plan, shown_passages, selection, made, settings, len(general), written, tried, used)
    own = _Rows(selection, shown_passages)
    count = len(made["train"]) + len(general)
    trained = _mixed(map(own, made["train"]), len(made["train"]), general)
    version, samples = _write(trained, folder / ROWS, folder / LINEAGE, reporting.sampled(count))
    _write(map(own, made["held_out"]), folder / HELD_OUT, folder / HELD_OUT_LINEAGE)
    skipped, rejected = _left_out(spec)
    body: DatasetReport = {"version": version, **page, "skipped": skipped, "rejected": rejected, "samples": samples}
    (folder / REPORT).write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8")
    return {
        "ok": True,
        "rows": count,
        "version": version,
        "held_out_rows": len(made["held_out"]),
        "coverage": covered / chunks,
        "generator": page["generator"],
        "warnings": page["warnings"],
    }


def _drafts(
    near: Mapping[str, Any] | None,
    plan: CorpusPlan,
    shown: Sequence[Passage],
    selection: Selection,
    settings: RowSettings,
) -> dict[Split, list[Draft]]:
    """Return the rows' drafts, their distractors ranked by BM25 and, where there are any, by vectors."""
    if not near:
        return drafts(selection, shown, Miner(shown), settings, plan.seed)

    def vectors(name: str, rows: Mapping[str, int]) -> Vectors:
        return Vectors(np.fromfile(near[name], "<f4").reshape(len(rows), near["dimensions"]), rows)

    ids = json.loads(Path(near["ids"]).read_bytes())
    questions = vectors("questions", {id: row for row, id in enumerate(ids)})
    nearest = Nearest(shown, vectors("chunks", chunk_rows(plan)), questions)
    return drafts(selection, shown, fused(Miner(shown), nearest), settings, plan.seed, nearest.allows)


def _used(near: Mapping[str, Any] | None, plan: CorpusPlan) -> EmbeddingUsed | None:
    if not near or plan.duplicate_similarity is None:
        return None
    return {
        "model": near["model"],
        "manifest": near["manifest"],
        "dimensions": near["dimensions"],
        "duplicate_similarity": plan.duplicate_similarity,
        "cut_chunks": near["cut_chunks"],
        "cut_questions": near["cut_questions"],
    }


def _left_out(spec: Mapping[str, Any]) -> tuple[list[LeftOutMember], list[LeftOutMember]]:
    """Return the members that were skipped and the documents that were rejected, each with its reason."""
    members, rejected = (json.loads(Path(path).read_bytes()) if (path := spec.get(name)) else [] for name in LEFT_OUT)
    return [reason(each) for each in members if not each["document"]], rejected


def _chunks(spec: Mapping[str, Any], written: dict[str, reporting.Written]) -> Iterator[Chunks]:
    """Yield the documents' chunks; what is said of who wrote about each is filed in `written` under its id."""
    said = spec.get("written") or [("", None)] * len(spec["documents"])
    for (path, _), (language, lacks) in zip(spec["documents"], said, strict=True):
        each = Chunks.model_validate_json(Path(path).read_bytes())
        written[each.document] = (language, lacks)
        yield each


def _examples(documents: Iterable[Sequence[str | None]]) -> Iterator[Example]:
    for _, path in documents:
        if path is not None:
            with Path(path).open("rb") as lines:
                yield from (Example.model_validate_json(line) for line in lines if line.strip())


class _Rows:
    """Drafts become rows, one at a time: contexts are long, and there may be a million."""

    def __init__(self, selection: Selection, shown_passages: Sequence[Passage]) -> None:
        self._selection, self._passages = selection, shown_passages
        self._by_chunk = {passage.chunk.id: passage for passage in shown_passages}

    def __call__(self, draft: Draft) -> Row:
        example = self._selection.kept[draft.example]
        own, absent = self._by_chunk[example.chunk], draft.position is None
        shown = [self._passages[place] for place in draft.shown]
        origin = RowOrigin(
            line=0,
            example=example.id,
            document=example.document,
            path=own.path,
            sha256=own.sha256,
            chunk=example.chunk,
            index=own.chunk.index,
            quote="" if absent else example.quote,
            span=None if absent else example.span,
            distractors=tuple(passage.chunk.id for passage in shown if passage is not own),
            position=draft.position,
            variant=draft.variant,
            generator=example.generator,
            scores=example.scores,
        )
        group = f"{example.id}/absent" if absent else example.id
        return {"messages": messages(example, shown, absent), "variant_of": group}, origin


def _general(path: str | None, settings: RowSettings, rows: int, seed: int) -> list[Row]:
    """Return general rows drawn by their content, as many as the setting's share of all asks for."""
    if path is None or settings.general is None:
        return []
    wanted = round(settings.general_share / (1 - settings.general_share) * rows)
    with Path(path).open("rb") as lines:
        bodies = (json.loads(line) for line in lines if line.strip())
        keyed = ((sha256(compact(body := {**row, "line": 0})), body) for row in bodies)
        drawn = heapq.nsmallest(wanted, keyed, key=lambda pair: draw(seed, "general", pair[0]))
    return [(body, _general_origin(digest, settings.general.sha256)) for digest, body in drawn]


def _general_origin(digest: str, file: str) -> RowOrigin:
    return RowOrigin(
        line=0,
        example=f"row-{digest[:32]}",
        document="",
        path="",
        sha256=file,
        chunk="",
        quote="",
        span=None,
        distractors=(),
        position=None,
        variant=0,
        generator=None,
    )


def _mixed(rows: Iterator[Row], count: int, general: Sequence[Row]) -> Iterator[Row]:
    """Yield all rows, the general ones spread evenly over the others, which are `count`."""
    one = (((at + 0.5) / count, row) for at, row in enumerate(rows))
    other = (((at + 0.5) / len(general), row) for at, row in enumerate(general))
    return (row for _, row in heapq.merge(one, other, key=itemgetter(0)))


def _write(
    rows: Iterable[Row], path: Path, lineage: Path, sampled: Collection[int] = ()
) -> tuple[str, list[SampleRow]]:
    """Write rows and lineage; return the SHA-256 of the rows and those that were asked for as samples."""
    digest, samples = hashlib.sha256(), []
    with path.open("wb") as out, lineage.open("wb") as origins:
        for line, (body, unplaced) in enumerate(rows, 1):
            origin = unplaced.model_copy(update={"line": line})
            encoded = _ENCODER.encode({**body, "line": line}) + b"\n"
            out.write(encoded)
            digest.update(encoded)
            origins.write(origin.model_dump_json().encode() + b"\n")
            if line in sampled:
                samples.append(reporting.sample(origin, body["messages"]))
    return digest.hexdigest(), samples


if __name__ == "__main__":
    gc.disable()  # nothing here is cyclic, and looking for cycles among so many objects costs a sixth of the time
    sys.exit(answer(build))
