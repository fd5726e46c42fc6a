"""Distractors by vectors: the nearest ones, but none so near that it may answer the question as well."""

from collections.abc import Mapping
from math import cos, sin

import numpy as np
import pytest

from contracts.corpus import Chunks, CorpusPlan, DroppedChunk, Example
from functions.assemble_dataset import mine
from functions.assemble_dataset.contexts import Draft, drafts
from functions.assemble_dataset.core import Passage, RowSettings, passages, select
from functions.assemble_dataset.nearest import PERC_POS, Nearest, Vectors, chunk_rows, fused
from tests.unit.assemble_dataset.archive import Archive, archive, chunk, example, name, planned

OWN = 0.5
"""The angle between the question and the passage that answers it."""


def vectors(angles: Mapping[str, float]) -> Vectors:
    """Return vectors in a plane, by their angles to the x axis."""
    values = np.array([[cos(angle), sin(angle)] for angle in angles.values()], dtype=np.float32)
    return Vectors(values, {id: row for row, id in enumerate(angles)})


def around(angles: list[float], held_out: int = 0) -> tuple[Archive, list[Passage], Example, Nearest]:
    """Return passages at these angles to a question about the first; the last `held_out` are."""
    texts = [f"The {number} thing is said here." for number in range(len(angles))]
    parts = [chunk(name("doc", 1), at, text, start=1000 * at) for at, text in enumerate(texts)]
    document = Chunks(document=name("doc", 1), path="a", sha256="b", chunks=tuple(parts))
    kept = len(parts) - held_out
    plans = (*planned("train", parts[:kept]), *planned("held_out", parts[kept:]))
    plan = CorpusPlan(seed=3, chunks=plans, dropped=(), rejected_documents=())
    asked = example(parts[0], texts[0], "What is said first?", "0 thing")
    shown = passages(plan, (document,))
    by_chunk = {part.id: angle for part, angle in zip(parts, angles, strict=True)}
    nearest = Nearest(shown, vectors(by_chunk), vectors({asked.id: 0.0}))
    return Archive(plan, (document,), (asked,)), shown, asked, nearest


def rows(made: Archive, shown: list[Passage], nearest: Nearest, guarded: bool = True, **settings: float) -> list[Draft]:
    chosen = RowSettings.model_validate({"absent_share": 0.5, "min_rows": 1, **settings})
    selection = select(made.examples, {passage.chunk.id: passage for passage in shown}, chosen)
    guard = {"guard": nearest.allows} if guarded else {}
    return drafts(selection, shown, nearest, chosen, made.plan.seed, **guard)["train"]


def test_the_nearest_come_first_and_what_may_answer_the_question_does_not_come() -> None:
    angles = [OWN, 0.0, 1.2, 0.9, 0.52, 0.8, 3.0]
    _, _, asked, nearest = around(angles)
    bound = PERC_POS * cos(OWN)
    assert cos(0.52) > bound > cos(0.8)
    assert nearest(asked) == [5, 3, 2, 6]
    allows = nearest.allows(asked)
    assert [allows(place) for place in range(len(angles))] == [False, False, True, True, False, True, True]


def test_no_row_shows_a_passage_that_may_answer_neither_as_hard_nor_by_chance_nor_in_a_refusal() -> None:
    made, shown, _, nearest = around([OWN, 0.1, 1.2, 0.9, 0.3, 0.8])
    guarded = rows(made, shown, nearest, hard=2, random=2, variants=4)
    assert any(draft.position is None for draft in guarded)
    assert {place for draft in guarded for place in draft.shown} == {0, 2, 3, 5}
    unguarded = rows(made, shown, nearest, False, hard=2, random=2, variants=4)
    assert {1, 4} & {place for draft in unguarded for place in draft.shown}


def test_of_equally_near_ones_the_first_comes_first_and_the_other_split_does_not() -> None:
    _, _, asked, nearest = around([OWN, 0.9, 0.8, 0.9, 0.8, 0.7, 0.7], held_out=2)
    assert nearest(asked) == [2, 4, 1, 3]


def test_a_question_that_is_far_from_its_own_passage_has_distractors_that_are_farther() -> None:
    _, _, asked, nearest = around([2.0, 1.0, 2.5, 1.9, 3.0])
    found = nearest(asked)
    assert found == [2, 4]  # the cosine of the right one is below 0, and theirs is lower still


def test_rankings_are_fused_by_their_places() -> None:
    made, _, asked, _ = around([OWN] * 6)
    first, second = (lambda _: [3, 1, 2]), (lambda _: [2, 4, 3, 5])
    assert fused(first, second)(asked) == [2, 3, 1, 4, 5]  # of equal ones the first comes first
    assert fused(first)(asked) == [3, 1, 2]
    assert fused(lambda _: [5], lambda _: [4])(made.examples[0]) == [4, 5]


def test_only_a_questions_shelf_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mine, "SHELF", 4)
    _, _, asked, nearest = around([OWN, 1.2, 0.9, 1.0, 0.8, 0.8, 0.8, 0.8])
    assert nearest(asked) == [2, 3, 1]


def test_rows_of_vectors_are_those_of_all_chunks_also_of_dropped_ones() -> None:
    made = archive(documents=2, chunks=2, held_out=1)
    gone = DroppedChunk(chunk="chunk-0", document="doc-1", of=made.plan.chunks[0].chunk, similarity=1.0)
    found = chunk_rows(made.plan.model_copy(update={"dropped": (gone,)}))
    assert list(found) == sorted(found)
    assert found["chunk-0"] == 0
    assert sorted(found.values()) == list(range(5))
