"""What a benchmark says of its items, in numbers and in words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from contracts.benchmarks import Item, Kind, TaskResult
from functions.benchmark_model.summary import cells, noted, score, summarise
from functions.benchmark_model.verdict import of_task, verdict
from tests.unit.benchmark_model.synthetic import synthetic

Pair = tuple[float | None, float | None]


def items(pairs: Sequence[Pair], metric: str = "exact_match", task: str = "t") -> list[Item]:
    return [
        Item(
            id=f"{task}/{at}",
            task=task,
            question="?",
            answer="!",
            said={"base": "a", "tuned": "b"},
            scores={"base": {metric: base}, "tuned": {metric: tuned}},
        )
        for at, (base, tuned) in enumerate(pairs)
    ]


def made(pairs: Sequence[Pair], metric: str = "exact_match", kind: Kind = "documents", name: str = "t") -> TaskResult:
    return summarise(items(pairs, metric, name), name=name, kind=kind, title=name, metric=metric, scorer="s")


BETTER: Sequence[Pair] = [(1, 1)] * 13 + [(0, 1)] * 43 + [(1, 0)] * 2 + [(0, 0)] * 51
WORSE: Sequence[Pair] = [(tuned, base) for base, tuned in BETTER]


def test_better_is_said_with_both_shares_the_gain_its_interval_and_n() -> None:
    assert of_task(made(BETTER)) == (
        "better",
        "Tuned answers 51 % right, base 14 %: better by 38 points (27 to 47), n = 109.",
    )


def test_worse_is_a_loss_said_as_a_positive_number() -> None:
    assert of_task(made(WORSE)) == (
        "worse",
        "Tuned answers 14 % right, base 51 %: worse by 38 points (27 to 47), n = 109.",
    )


def test_no_difference_is_a_result_and_shows_what_is_still_possible() -> None:
    found, sentence = of_task(made([(0, 0)] * 40 + [(1, 1)] * 20 + [(0, 1)] * 6 + [(1, 0)] * 5))
    assert found == "no_difference"
    assert sentence == (
        "No difference shown: tuned answers 37 % right, base 35 %; the difference is 1 point (−8 to 11), n = 71."
    )


def test_an_interval_without_0_does_not_count_when_the_exact_test_disagrees() -> None:
    task = made([(0, 1)] * 5 + [(0, 0)] * 60)
    assert task.difference is not None
    assert task.difference.estimate.low > 0
    assert task.difference.p == 0.0625
    assert of_task(task)[0] == "no_difference"
    assert "p = 0.06" in of_task(task)[1]


def test_unscored_is_counted_and_never_0() -> None:
    task = made([(1, None)] * 5 + [(None, 1)] * 5 + [(1, 1)] * 30)
    assert (task.scores["base"].n, task.scores["base"].unscored) == (35, 5)
    assert task.scores["tuned"].estimate is not None
    assert task.scores["tuned"].estimate.value == 1
    assert task.difference is not None
    assert (task.difference.n, task.difference.estimate.value) == (30, 0)
    assert noted([task])[0].note == "10 of 80 answers could not be scored and are left out."


def test_nothing_scored_is_no_verdict() -> None:
    task = made([(None, None)] * 4)
    assert task.difference is None
    assert task.scores["tuned"].estimate is None
    assert verdict([task]) == ("unscored", "Nothing could be scored: none of 8 answers.")
    assert verdict([]) == ("unscored", "Nothing could be scored: none of 0 answers.")
    lone = made([(1, None)] * 4)
    assert of_task(lone) == ("unscored", "Nothing that tuned said could be scored.")


def test_a_model_alone_is_scored_and_not_compared() -> None:
    alone = [
        item.model_copy(update={"said": {"tuned": "b"}, "scores": {"tuned": {"f1": 0.5}}}) for item in items(BETTER)
    ]
    task = summarise(alone, name="t", kind="documents", title="t", metric="f1", scorer="s")
    assert set(task.scores) == {"tuned"}
    found, sentence = verdict([task])
    assert found == "unscored"
    assert sentence == "Tuned scores 50 % (F1) (41 to 59), n = 109; no base was asked, so nothing is compared."


def test_scores_in_between_are_compared_by_bootstrap_and_permutation() -> None:
    task = made([(0.2, 0.3), (0.4, 0.9), (0.1, 0.6)] * 20, "judge")
    assert task.difference is not None
    assert task.difference.method == "bootstrap over items (2,000 draws); paired permutation test (10,000 draws)"
    assert of_task(task)[1].startswith("Tuned is given 60 % by the judge, base 23 %: better by 37 points (3")
    few = made([(0.2, 0.3), (0.4, 0.9), (0.1, 0.6)], "judge")
    assert few.difference is not None
    assert few.difference.p == 0.25  # 2 of 8 signs
    assert "(exact)" in few.difference.method


def test_an_item_that_occurs_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="item t/0 occurs twice"):
        summarise(items([(1, 1)]) * 2, name="t", kind="documents", title="t", metric="exact_match", scorer="s")
    with pytest.raises(ValueError, match="item t/0 belongs to t"):
        summarise(items([(1, 1)]), name="other", kind="documents", title="t", metric="exact_match", scorer="s")


def test_cells_are_in_order_and_count_every_item_of_theirs() -> None:
    grid = [
        item.model_copy(update={"by": {"length": length, "position": place}})
        for item, (length, place) in zip(
            items([(0, 1)] * 6),
            [(1024, "begin"), (256, "begin"), (1024, "end"), (256, "end"), (256, "end"), (512, "end")],
            strict=True,
        )
    ]
    assert [(cell.by, cell.scores["tuned"].n) for cell in cells(grid, "exact_match", ("length",))] == [
        ({"length": 256}, 3),
        ({"length": 512}, 1),
        ({"length": 1024}, 2),
    ]
    assert [cell.by["position"] for cell in cells(grid, "exact_match", ("position",))] == ["begin", "end"]
    assert cells(grid, "exact_match", ("length", "distractors")) == ()


def test_the_primary_task_decides_and_what_was_forgotten_is_said() -> None:
    tasks = [
        made(WORSE, "acc", "forgetting", "General"),
        made(WORSE, "exact_match", "trained", "Trained"),
        made(BETTER, "exact_match", "documents", "Held out"),
    ]
    found, sentence = verdict(tasks)
    assert found == "better"
    assert sentence.endswith("n = 109. But worse at General: by 38 points (27 to 47).")


def test_few_items_many_comparisons_and_a_control_that_fails_are_noted() -> None:
    weak: Sequence[Pair] = [(0, 1)] * 7 + [(0, 0)] * 11  # p = 0.016
    tasks = [made(weak, name=f"t{at}") for at in range(5)]
    note = noted(tasks)[0].note
    assert "Few items (n = 18)" in note
    assert "One of 5 comparisons: corrected for their number (Holm) p is 0.08, so this one may be chance." in note
    assert "Holm" not in noted(tasks[:1])[0].note
    known = made([(0, 1)] * 12 + [(0, 0)] * 30, kind="no_context")
    assert "without any passage 29 % (17 to 44) are right" in noted([known])[0].note
    assert noted([made([(0, 0)] * 42, kind="no_context")])[0].note == ""


def test_a_made_up_benchmark_says_what_was_put_into_it() -> None:
    assert synthetic()[0].verdict == "better"
    assert synthetic(base=0.5, tuned=0.2)[0].verdict == "worse"
    assert synthetic(base=0.3, tuned=0.3, seed=1)[0].verdict == "no_difference"


def test_a_score_of_no_items_has_no_estimate() -> None:
    assert score([], "f1", "tuned").estimate is None
