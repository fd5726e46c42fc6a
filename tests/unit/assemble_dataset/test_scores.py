"""Re-curation: which examples their scores rule out, and what that changes besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from contracts.corpus import Example
from functions.assemble_dataset.core import RowSettings, Selection, passages, refusal, select, unfit
from tests.unit.assemble_dataset.archive import Archive, archive, example

MADE = archive(documents=4, chunks=6, held_out=1)
FIRST, SECOND = MADE.documents[0].chunks[0], MADE.documents[1].chunks[1]
HELD_OUT = MADE.documents[-1].chunks[0]


def rated(*scores: Mapping[str, float]) -> Archive:
    """The archive's examples with these scores in turn."""
    examples = (each.model_copy(update={"scores": scores[at % len(scores)]}) for at, each in enumerate(MADE.examples))
    return replace(MADE, examples=tuple(examples))


def selected(examples: tuple[Example, ...], **bounds: Mapping[str, float]) -> Selection:
    by_chunk = {passage.chunk.id: passage for passage in passages(MADE.plan, MADE.documents)}
    return select(examples, by_chunk, RowSettings.model_validate(bounds))


def test_what_is_rated_too_low_or_too_high_is_dropped_and_counted_in_both_splits() -> None:
    made = rated({"support": 0.5, "closed_book": 0.1}, {"support": 0.7, "closed_book": 0.9}, {"support": 0.6})
    found = selected(made.examples, min_score={"support": 0.6}, max_score={"closed_book": 0.5})
    assert {tuple(sorted(each.scores.items())) for each in found.kept} == {(("support", 0.6),)}
    lost = {"below_min_score", "above_max_score"}
    assert {split: set(counts) for split, counts in found.dropped.items()} == {"train": lost, "held_out": lost}
    assert sum(map(sum, (counts.values() for counts in found.dropped.values()))) + len(found.kept) == 24
    assert found.dropped["train"] == {"below_min_score": 6, "above_max_score": 6}


def test_what_was_not_rated_stays() -> None:
    made = rated({}, {"support": 0.0})
    assert len(selected(made.examples, min_score={"closed_book": 1.0}).kept) == 24
    assert len(selected(made.examples, min_score={"support": 0.1}).kept) == 12
    assert len(selected(made.examples, max_score={"support": 0.0}).kept) == 24


def test_bounds_that_nothing_is_beyond_change_nothing() -> None:
    made = rated({"support": 0.6}, {"support": 1.0})
    assert selected(made.examples, min_score={"support": 0.6}, max_score={"support": 1.0}) == selected(made.examples)


def test_the_better_one_of_two_that_ask_the_same_stays() -> None:
    asked = "How much of it is there?"
    pair = [example(FIRST, FIRST.text, asked, "one"), example(SECOND, SECOND.text, asked, "another")]
    pair.sort(key=lambda each: each.id)
    first, second = (
        each.model_copy(update={"scores": {"support": score}}) for each, score in zip(pair, (0.4, 0.9), strict=True)
    )
    assert first in selected((first, second)).kept
    found = selected((first, second), min_score={"support": 0.5})
    assert found.kept == (second,)
    # What the other one's chunk says is still an answer: it may not stand beside the question.
    assert found.rivals == {"how much of it is there": frozenset({FIRST.id, SECOND.id})}


def test_a_question_of_the_benchmark_is_not_trained_on_when_its_score_rules_it_out() -> None:
    asked = "What is it all about?"
    own = example(FIRST, FIRST.text, asked, "one", scores={"support": 1.0})
    other = example(HELD_OUT, HELD_OUT.text, asked, "another", "held_out", scores={"support": 0.1})
    found = selected((own, other), min_score={"support": 0.5})
    assert found.kept == ()
    assert found.dropped == {"train": {"leaks_held_out": 1}, "held_out": {"below_min_score": 1}}


def test_too_little_left_says_which_scores_to_ask_for() -> None:
    bounded = RowSettings(min_score={"support": 0.9}, coverage_required=True)
    for counts in ((0, 0, 9, 0), (20, 4, 9, 10), (9, 9, 9, 9)):
        found = refusal(*counts, dropped={"below_min_score": 5}, settings=bounded)
        assert found is not None
        assert "5 below_min_score" in found.message
        assert found.message.endswith("Ask for a lower min_score or a higher max_score.")


ARCHIVE = {"id": "file-2", "tenant": "acme", "source": "file-1"}
SOURCE: dict[str, Any] = {
    "id": "file-1",
    "tenant": "acme",
    "source": None,
    "deleted": False,
    "failed": None,
    "assembled": {"rows": 9},
    "uploaded": {"purpose": "fine-tune"},
}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"assembled": None}, None),
        ({"failed": {"message": "m"}}, None),
        ({"failed": {"message": "m"}, "assembled": None}, "source_failed"),
        ({"deleted": True}, "source_deleted"),
        ({"source": "file-0"}, "source_is_recurated"),
        ({"uploaded": {"purpose": "ingestion"}}, "invalid_file_purpose"),
    ],
)
def test_a_source_that_will_never_do_says_why(changes: dict[str, Any], code: str | None) -> None:
    for late in (False, True):
        found = unfit(ARCHIVE, {**SOURCE, **changes}, late)
        assert (found.code if found else None) == code
        assert found is None or "file-1" in found.message


@pytest.mark.parametrize("source", [None, {**SOURCE, "tenant": "umbrella", "deleted": True}])
def test_a_source_that_nobody_knows_is_waited_for_a_while(source: dict[str, Any] | None) -> None:
    assert unfit(ARCHIVE, source, late=False) is None
    late = unfit(ARCHIVE, source, late=True)
    assert late is not None
    assert late.code == "source_not_found"
