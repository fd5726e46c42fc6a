"""The journal of answers, and items from what lm-eval says of each sample."""

from pathlib import Path
from typing import Any

import pytest

from functions.benchmark_model.harness.journal import Journal, key
from functions.benchmark_model.harness.results import items, samples


def test_what_was_answered_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path, "a") as journal:
        assert journal.get("x") is None
        journal.add("x", [[-0.1, True], [-1e-7, False]])
    with Journal(path, "a") as journal:
        assert journal.get("x") == [[-0.1, True], [-1e-7, False]]


@pytest.mark.parametrize("bytes_lost", range(1, 40))
def test_a_torn_line_is_forgotten_and_the_ones_before_it_stay(tmp_path: Path, bytes_lost: int) -> None:
    path = tmp_path / "journal"
    with Journal(path, "a") as journal:
        journal.add("x", [1])
        journal.add("y", ["a long answer that is torn"])
    path.write_bytes(path.read_bytes()[:-bytes_lost])
    with Journal(path, "a") as journal:
        assert journal.get("x") == [1]
        assert journal.get("y") is None
        journal.add("y", [2])
    with Journal(path, "a") as journal:
        assert (journal.get("x"), journal.get("y")) == ([1], [2])


def test_answers_of_another_configuration_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path, "a") as journal:
        journal.add("x", [1])
    with Journal(path, "b") as journal:
        assert journal.get("x") is None
    assert path.read_bytes().count(b"\n") == 1


def test_a_batch_is_known_by_its_texts_and_tokens() -> None:
    assert key([(("a", " b"), [1], [2])]) == key([(("a", " b"), [1], [2])])
    assert key([(("a", " b"), [1], [2])]) != key([(("a", " b"), [1], [3])])


def sample(doc: int, **changes: Any) -> dict[str, Any]:
    content = {
        "doc_id": doc,
        "doc_hash": "h1",
        "question": "Which?",
        "arguments": [("shots\n\nWhich?", " A"), ("shots\n\nWhich?", " B")],
        "target": 1,
        "filtered_resps": [(-2.0, False), (-1.0, True)],
        "filter": "none",
        "metrics": ["acc", "perplexity"],
        "acc": 1.0,
        "perplexity": (-1.0, 2),
    }
    return {**content, **changes}


def test_a_sample_becomes_a_row_with_the_choices_in_words() -> None:
    (row,) = samples("mmlu", "law", [sample(0)])
    assert (row["question"], row["answer"], row["said"]) == ("Which?", "B", "B")
    assert row["scores"] == {"acc": 1.0}  # a perplexity has no score for each sample
    assert row["by"] == {"subject": "law"}


def test_the_same_question_twice_is_two_items() -> None:
    rows = samples("mmlu", "law", [sample(0), sample(1)])
    assert len({row["id"] for row in rows}) == 2
    assert [row["id"] for row in rows] == [row["id"] for row in samples("mmlu", "law", [sample(0), sample(1)])]


def test_filters_are_metrics_of_one_item() -> None:
    generated = {
        "arguments": [("Why?", {"until": []})],
        "target": "so",
        "metrics": ["exact_match"],
        "filtered_resps": ["so"],
    }
    (row,) = samples(
        "mine",
        "",
        [
            sample(0, **generated, exact_match=1, filter="strict"),
            sample(0, **generated, exact_match=0, filter="none"),
        ],
    )
    assert row["scores"] == {"exact_match (strict)": 1.0, "exact_match": 0.0}
    assert (row["said"], row["answer"]) == ("so", "so")


def test_sides_are_joined_and_what_one_lacks_is_unscored() -> None:
    base = samples("mmlu", "", [sample(0), sample(1, doc_hash="h2")])
    tuned = samples("mmlu", "", [sample(0, acc=0.0, filtered_resps=[(-1.0, True), (-2.0, False)])])
    tuned += [{**base[1], "scores": {}}]
    first, second = items("mmlu", {"base": base, "tuned": tuned})
    assert first.said == {"base": "B", "tuned": "A"}
    assert first.scores == {"base": {"acc": 1.0}, "tuned": {"acc": 0.0}}
    assert second.scores == {"base": {"acc": 1.0}, "tuned": {"acc": None}}
