"""Scores and intervals against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from infra.demo.score import exact, f1, gain, mean_gain, share


def outcomes(both: int, only_before: int, only_after: int, neither: int) -> tuple[list[bool], list[bool]]:
    before = [True] * (both + only_before) + [False] * (only_after + neither)
    after = [True] * both + [False] * only_before + [True] * only_after + [False] * neither
    return before, after


def test_exact_ignores_only_the_white_space_around() -> None:
    assert exact(" 412 kg\n", "412 kg")
    assert not exact("412 Kg", "412 kg")
    assert not exact("412 kg.", "412 kg")


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("The pump runs.", "pump runs", 1.0),  # articles and marks do not count
        ("the red pump", "red kettle", 0.5),  # 1 word of 2 and of 2
        ("red red pump", "red", 0.5),  # precision 1/3, recall 1: 2 * 1 / (3 + 1)
        ("nothing alike", "412 kg", 0.0),
        ("", "412 kg", 0.0),
        ("", "", 1.0),
    ],
)
def test_f1_is_the_overlap_of_words(prediction: str, answer: str, expected: float) -> None:
    assert f1(prediction, answer) == pytest.approx(expected)


def test_share_has_wilsons_interval() -> None:
    # Newcombe 1998, two-sided 95 %: 81 of 263 gives 0.2553 to 0.3662, and 0 of 20 gives 0 to 0.1611.
    estimate = share([True] * 81 + [False] * 182)
    assert (estimate.low, estimate.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    nothing = share([False] * 20)
    assert (nothing.value, nothing.low, nothing.high) == pytest.approx((0.0, 0.0, 0.1611), abs=5e-5)


def test_gain_without_correlation_joins_the_two_wilson_intervals() -> None:
    # 5 + 5 of 20 before and 5 + 5 after are independent (5 * 5 = 5 * 5), so phi is 0.
    before, after = outcomes(both=5, only_before=5, only_after=5, neither=5)
    half = 0.5 - share(before).low  # 10 of 20 is symmetric
    estimate = gain(before, after)
    assert estimate.value == 0
    assert estimate.high == pytest.approx(half * math.sqrt(2))
    assert estimate.low == pytest.approx(-half * math.sqrt(2))


def test_gain_with_correlation_is_narrower() -> None:
    # 36 + 4 of 50 before and 36 + 6 after: phi = (36 * 4 - 6 * 4 - 25) / sqrt(42 * 8 * 40 * 10) = 95 / 366.606.
    before, after = outcomes(both=36, only_before=4, only_after=6, neither=4)
    phi = 95 / 366.606
    first, second = share(after), share(before)
    a, b = first.value - first.low, second.high - second.value
    estimate = gain(before, after)
    assert estimate.value == pytest.approx(0.04)
    assert estimate.low == pytest.approx(0.04 - math.sqrt(a * a - 2 * phi * a * b + b * b), abs=1e-6)
    assert estimate.low > 0.04 - math.hypot(a, b)


def test_gain_of_nothing_still_has_a_width() -> None:
    estimate = gain([False] * 300, [False] * 300)
    assert estimate.value == estimate.low + estimate.high == 0
    assert estimate.high == pytest.approx(0.0126, abs=1e-4)  # Wilson's bound for 0 of 300
    few = gain([False] * 100, [False] * 100)
    assert few.high == pytest.approx(0.0370, abs=1e-4)


def test_gain_of_everything_is_one() -> None:
    estimate = gain([False] * 100, [True] * 100)
    assert estimate.value == 1
    assert 0.9 < estimate.low < estimate.high
    assert estimate.high == pytest.approx(1)


def test_mean_gain_is_repeatable_and_brackets_the_mean() -> None:
    before, after = [0.0, 0.5, 0.0, 0.25] * 10, [1.0, 0.5, 0.5, 0.25] * 10
    estimate = mean_gain(before, after, seed=3)
    assert estimate == mean_gain(before, after, seed=3)
    assert estimate.value == pytest.approx(0.375)
    # The standard error is sqrt(0.171875 / 40) = 0.0656, so 95 % is about 0.375 +- 0.128.
    assert (estimate.low, estimate.high) == pytest.approx((0.247, 0.503), abs=0.02)
    assert mean_gain([0.25] * 5, [0.5] * 5).low == pytest.approx(0.25)


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to score"):
        share([])
    with pytest.raises(ValueError, match="nothing to score"):
        mean_gain([], [])
    with pytest.raises(ValueError, match="same questions"):
        gain([True], [True, False])
