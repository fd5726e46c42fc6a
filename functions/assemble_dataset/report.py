"""What a data set is made of, for people: coverage, what was lost and why, lengths, samples; pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, cast, get_args

from contracts.corpus import CorpusPlan, Finder, RowOrigin, Split
from contracts.events.corpus import Generator
from contracts.wire.dataset_answers import (
    CoverageExtent,
    CoverageShare,
    DatasetFindings,
    DocumentCoverage,
    EmbeddingUsed,
    LanguageCounts,
    SampleRow,
    SplitCounts,
    TokenCounts,
    TriedGenerator,
)
from functions.assemble_dataset.contexts import Draft
from functions.assemble_dataset.core import SPLITS, Passage, RowSettings, Selection, little

EDGES = (0, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 2**53)
"""Bins of the histogram of tokens; the last one is open."""
SAMPLES = 10

Written = tuple[str, str | None]
"""Of a document: the language that the rules saw ("": none wrote), and why it has no questions at all."""
_WEAKEST: tuple[Generator, ...] = ("extractive", "base", "endpoint")
_NO_RULES = "no_rules_for_language"


def generator_of(generators: Iterable[Generator]) -> Generator:
    """Return the label of a data set: the weakest that wrote a part of it, rules, then the target model."""
    used = set(generators)
    return next((each for each in _WEAKEST if each in used), "extractive")


def covered_by(selection: Selection, drafts: Iterable[Draft]) -> Counter[str]:
    """Return chunk → its rows that are answered."""
    return Counter(selection.kept[draft.example].chunk for draft in drafts if draft.position is not None)


def coverage(passages: Sequence[Passage], rows: Mapping[str, int], split: Split) -> tuple[int, int]:
    """Return how many chunks of the split have a row, and how many were asked for one."""
    asked = [passage for passage in passages if passage.split == split and passage.asked]
    return sum(1 for passage in asked if rows.get(passage.chunk.id)), len(asked)


def report(
    plan: CorpusPlan,
    passages: Sequence[Passage],
    selection: Selection,
    drafts: Mapping[Split, Sequence[Draft]],
    settings: RowSettings,
    general: int,
    written: Mapping[str, Written],
    tried: Sequence[TriedGenerator] = (),
    embedding: EmbeddingUsed | None = None,
) -> DatasetFindings:
    """Return the report without the version and the samples, which are known when the rows are written."""
    rows = covered_by(selection, (draft for split in SPLITS for draft in drafts[split]))
    everything = [draft for split in SPLITS for draft in drafts[split]]
    used = Counter(selection.kept[draft.example].generator for draft in everything)
    return {
        "generator": generator_of(used),
        "warnings": [*_warnings(passages, rows, settings, written), *_passed_over(tried)][:20],
        "generators": dict(sorted(used.items())),
        "tried": list(tried),
        "languages": _languages(passages, rows, written),
        "settings": settings.model_dump(mode="json"),
        "splits": {split: _counts(drafts[split], general if split == "train" else 0) for split in SPLITS},
        "examples": {
            split: {
                "kept": sum(1 for example in selection.kept if example.split == split),
                "dropped": dict(sorted(selection.dropped[split].items())),
            }
            for split in SPLITS
        },
        "coverage": {split: _share(*coverage(passages, rows, split)) for split in SPLITS},
        "duplicate_chunks": len(plan.dropped),
        "duplicates": {by: sum(each.by == by for each in plan.dropped) for by in get_args(Finder)},
        "distractors": "bm25" if embedding is None else "bm25+embedding",
        "embedding": embedding,
        "rejected_documents": sorted(plan.rejected_documents),
        "documents": _documents(passages, rows),
        "context_tokens": _tokens([draft.tokens for draft in everything]),
    }


def _warnings(
    passages: Sequence[Passage], rows: Mapping[str, int], settings: RowSettings, written: Mapping[str, Written]
) -> list[str]:
    """Return what a person should know before a job is paid for, at most 20 sentences."""
    found = []
    covered, chunks = coverage(passages, rows, "train")
    if chunks and covered / chunks < settings.min_coverage:
        said = f"{little(covered, chunks, settings)} wanted): the model learns nothing of the others."
        found.append(f"{said} Name a generator that writes more questions, or upload documents with more running text.")
    return [*found, *without_rules(passages, written)]


def tried_once(tried: Iterable[Mapping[str, Any]]) -> list[TriedGenerator]:
    """Return who was to write, each once with the `documents` that say so, at most 20."""
    counted: dict[tuple[str, ...], TriedGenerator] = {}
    for each in tried:
        key = tuple(str(each[name]) for name in ("generator", "model", "code"))
        first = counted.setdefault(key, cast("TriedGenerator", {**each, "documents": 0}))
        first["documents"] += 1
    return list(counted.values())[:20]


def _passed_over(tried: Sequence[TriedGenerator]) -> list[str]:
    """Return a sentence for each endpoint, and each model that was chosen, that did not write what it was to write."""
    return [
        f"{each['message']} ({_count(each['documents'])})"
        for each in tried
        if each["code"] == "fell" or (each["generator"] == "endpoint" and each["code"] != "taken")
    ]


def _count(documents: int) -> str:
    return f"{documents} document{'' if documents == 1 else 's'}"


def without_rules(passages: Sequence[Passage], written: Mapping[str, Written]) -> list[str]:
    """Return a sentence for each language in which nobody wrote questions, at most 19."""
    unruled = Counter(
        language
        for passage in passages
        for language, lacks in [written.get(passage.chunk.document, ("", None))]
        if lacks == _NO_RULES
    )
    return [
        f"{count} chunks are in '{language}': there are no rules for this language, so they have no questions. Name an"
        " endpoint that writes them."
        for language, count in unruled.most_common(19)
    ]


def _languages(
    passages: Sequence[Passage], rows: Mapping[str, int], written: Mapping[str, Written]
) -> dict[str, LanguageCounts]:
    """Return language → chunks that rules were to ask about, and how many of them have a row."""
    by_language: dict[str, list[Passage]] = defaultdict(list)
    for passage in passages:
        by_language[written.get(passage.chunk.document, ("", None))[0]].append(passage)
    return {
        language: {"chunks": len(members), "covered": sum(1 for each in members if rows.get(each.chunk.id))}
        for language, members in sorted(by_language.items())
        if language
    }


def sample(origin: RowOrigin, messages: Sequence[Mapping[str, Any]]) -> SampleRow:
    """Return a row as a person wants to see it."""
    return cast("SampleRow", {"messages": list(messages), "origin": origin.model_dump(mode="json")})


def sampled(rows: int) -> frozenset[int]:
    """Return the 1-based lines that are shown; the order of rows is chance already, so they are spread evenly."""
    return frozenset(1 + rows * at // SAMPLES for at in range(SAMPLES))


def _counts(drafts: Sequence[Draft], general: int) -> SplitCounts:
    answered = [draft for draft in drafts if draft.position is not None]
    return {
        "rows": len(drafts) + general,
        "answered": len(answered),
        "absent": len(drafts) - len(answered),
        "general": general,
        "by_variant": _sorted(Counter(draft.variant for draft in answered)),
        "by_position": _sorted(Counter(draft.position for draft in answered if draft.position is not None)),
        "by_passages": _sorted(Counter(len(draft.shown) for draft in drafts)),
    }


def _sorted(counts: Counter[int]) -> dict[str, int]:
    return {str(key): count for key, count in sorted(counts.items())}


def _share(covered: int, chunks: int) -> CoverageShare:
    return {"covered": covered, "chunks": chunks, "share": covered / chunks if chunks else 0.0}


def _documents(passages: Sequence[Passage], rows: Mapping[str, int]) -> list[DocumentCoverage]:
    by_document: dict[str, list[Passage]] = defaultdict(list)
    for passage in passages:
        by_document[passage.chunk.document].append(passage)
    return [_document(members, rows) for members in by_document.values()]


def _document(members: Sequence[Passage], rows: Mapping[str, int]) -> DocumentCoverage:
    by_page: dict[int, list[Passage]] = defaultdict(list)
    for passage in members:
        for page in {span.page for span in passage.chunk.spans}:
            by_page[page].append(passage)
    return {
        "document": members[0].chunk.document,
        "path": members[0].path,
        "sha256": members[0].sha256,
        **_extent(members, rows),
        "by_page": [{"page": page, **_extent(by_page[page], rows)} for page in sorted(by_page)],
        "by_chunk": [
            {
                "chunk": passage.chunk.id,
                "split": passage.split,
                "pages": sorted({span.page for span in passage.chunk.spans}),
                "asked": passage.asked,
                "rows": rows.get(passage.chunk.id, 0),
            }
            for passage in members
        ],
    }


def _extent(members: Sequence[Passage], rows: Mapping[str, int]) -> CoverageExtent:
    asked = [passage for passage in members if passage.asked]
    covered = sum(1 for passage in asked if rows.get(passage.chunk.id))
    return {**_share(covered, len(asked)), "rows": sum(rows.get(passage.chunk.id, 0) for passage in members)}


def _tokens(lengths: Sequence[int]) -> TokenCounts:
    counts = Counter(bisect_right(EDGES, length) - 1 for length in lengths)
    last = max(counts, default=-1)
    return {
        "least": min(lengths, default=0),
        "median": median(lengths) if lengths else 0,
        "most": max(lengths, default=0),
        "histogram": {"edges": list(EDGES[: last + 2]), "counts": [counts[bin] for bin in range(last + 1)]},
    }
