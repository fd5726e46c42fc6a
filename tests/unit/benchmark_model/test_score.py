"""Scores without a judge, against values worked out by hand."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.benchmark_model.score import METRICS, exact, exact_match, f1, refusal, rouge_l


def test_exact_ignores_only_the_white_space_around() -> None:
    assert exact(" 412 kg\n", "412 kg")
    assert not exact("412 Kg", "412 kg")
    assert not exact("412 kg.", "412 kg")


@pytest.mark.parametrize(
    ("prediction", "answer", "same"),
    [
        ("412 Kg.", "412 kg", True),
        ("**The pump**", "a pump", True),
        ("“412 kg”", "412 kg", True),
        ("４１２ kg", "412 kg", True),
        ("4.12 kg", "412 kg", False),  # SQuAD's would take marks out of numbers
        ("-5", "5", False),
        ("It weighs 412 kg.", "412 kg", False),
        ("The", "a", False),  # articles alone are words
        ("", "412 kg", False),
        ("", "", True),
    ],
)
def test_exact_match_looks_past_form_but_never_past_a_number(prediction: str, answer: str, same: bool) -> None:
    assert exact_match(prediction, answer) == float(same)


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("The pump runs.", "pump runs", 1.0),  # articles and marks do not count
        ("the red pump", "red kettle", 0.5),  # 1 word of 2 and of 2
        ("red red pump", "red", 0.5),  # precision 1/3, recall 1: 2 * 1 / (3 + 1)
        ("nothing alike", "412 kg", 0.0),
        ("", "412 kg", 0.0),
        ("", "", 1.0),
        ("阀门重", "阀门", 0.8),  # 2 characters of 3 and of 2: 2 * 2 / 5
    ],
)
def test_f1_is_the_overlap_of_words(prediction: str, answer: str, expected: float) -> None:
    assert f1(prediction, answer) == pytest.approx(expected)


def test_rouge_l_is_that_of_the_paper() -> None:
    # Lin 2004, section 3.1: against "police killed the gunman" the first has LCS 3, the second LCS 2.
    reference = "police killed the gunman"
    assert rouge_l("police kill the gunman", reference) == pytest.approx(0.75)
    assert rouge_l("the gunman kill police", reference) == pytest.approx(0.5)
    assert rouge_l("", reference) == 0
    assert rouge_l("...", "!") == 1  # neither has a word


@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
def test_rouge_l_is_the_recursion_of_the_longest_common_subsequence(given_: list[str], wanted: list[str]) -> None:
    @cache
    def longest(i: int, j: int) -> int:
        if i == len(given_) or j == len(wanted):
            return 0
        if given_[i] == wanted[j]:
            return 1 + longest(i + 1, j + 1)
        return max(longest(i + 1, j), longest(i, j + 1))

    total = len(given_) + len(wanted)
    expected = 2 * longest(0, 0) / total if total else 1.0
    assert rouge_l(" ".join(given_), " ".join(wanted)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "said",
    [
        "The context does not say.",
        "the context does not say",
        "The provided passages don't mention the weight of the valve.",
        "I don't know.",
        "I cannot answer this from the context.",
        "I'm sorry, but I do not have enough information.",
        "There is no information about line 7.",
        "This is not mentioned in the text.",
        "It cannot be determined.",
        "Der Kontext enthält dazu keine Angabe.",
    ],
)
def test_refusals_are_told_in_many_words(said: str) -> None:
    assert refusal(said, "The context does not say.") == 1


@pytest.mark.parametrize(
    "said",
    [
        "412 kg",
        "",
        "The document is not valid after 2020.",
        "The valve must not be given to children.",
        "No, the pump is on line 7.",
        "Text on the label must not be blue.",
        "He found it in the context of the war.",
    ],
)
def test_an_answer_is_no_refusal(said: str) -> None:
    assert refusal(said, "The context does not say.") == 0


@given(st.text(), st.text())
def test_every_score_is_from_0_to_1_and_whole_for_the_right_answer(prediction: str, answer: str) -> None:
    for metric in METRICS.values():
        assert 0 <= metric(prediction, answer) <= 1
        assert metric(answer, answer) == 1
