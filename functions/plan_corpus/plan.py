"""Plan a corpus: `python -m functions.plan_corpus.plan spec.json`.

The spec has `documents` (paths of `contracts.corpus.Chunks`), `rejected` (ids of documents), `held_out` (a share),
`rows_per_chunk`, `near` (null, or `vectors`, a path of float32 [chunks sorted by id, `dimensions`], and the
`similarity` from which on one of two is enough) and `plan` (a path: a `contracts.corpus.CorpusPlan` is written there).
The counts of a `contracts.events.corpus.CorpusPlanned` are printed as one JSON object.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from contracts.canonical import compact
from contracts.corpus import Chunks, CorpusPlan
from functions._shared.child import answer
from functions.plan_corpus.core import plan
from functions.plan_corpus.near import Near


def counts(made: CorpusPlan) -> dict[str, Any]:
    """Return how much there is of what."""
    return {
        "documents": len({each.document for each in made.chunks}),
        "chunks": len(made.chunks),
        "held_out": sum(each.split == "held_out" for each in made.chunks),
        "duplicates": len(made.dropped),
        "rows": sum(each.rows for each in made.chunks),
    }


def main(spec: dict[str, Any]) -> dict[str, Any]:
    """Plan what the spec names and return the counts."""
    gc.disable()  # nearly all lives until the end: looking for what does not would cost more with every document
    documents = [Chunks.model_validate_json(Path(path).read_bytes()) for path in spec["documents"]]
    nearby = spec["near"] and partial(_near, spec["near"])
    made = plan(documents, spec["rejected"], spec["held_out"], spec["rows_per_chunk"], nearby)
    if nearby:
        made = made.model_copy(update={"duplicate_similarity": spec["near"]["similarity"]})
    # What is as it always was is not said: a plan without vectors reads as it did before there were any.
    Path(spec["plan"]).write_bytes(compact(made.model_dump(mode="json", exclude_defaults=True)))
    return counts(made)


def _near(said: Mapping[str, Any], order: Sequence[str]) -> Near:
    vectors = np.fromfile(said["vectors"], "<f4").reshape(len(order), said["dimensions"])
    return Near(vectors, {chunk: row for row, chunk in enumerate(sorted(order))}, order, said["similarity"])


if __name__ == "__main__":
    sys.exit(answer(main))
