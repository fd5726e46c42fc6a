"""Intervals and tests against published values, values worked out by hand, and plain enumeration."""

from __future__ import annotations

import math
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.benchmark_model.statistics import (
    EXACT_PAIRS,
    gain,
    holm,
    mcnemar,
    mean,
    mean_gain,
    permutation,
    share,
)


def outcomes(both: int, only_before: int, only_after: int, neither: int) -> tuple[list[bool], list[bool]]:
    before = [True] * (both + only_before) + [False] * (only_after + neither)
    after = [True] * both + [False] * only_before + [True] * only_after + [False] * neither
    return before, after


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
    equal = mean_gain([0.25] * 50, [0.5] * 50)  # a bootstrap of equal differences would have no width
    assert equal.value == pytest.approx(0.25)
    assert 0 < equal.low < 0.15
    assert mean_gain([0.25] * 5, [0.5] * 5).low < 0


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to score"):
        share([])
    with pytest.raises(ValueError, match="nothing to score"):
        mean_gain([], [])
    with pytest.raises(ValueError, match="same questions"):
        gain([True], [True, False])


def test_gain_is_that_of_newcombes_paper() -> None:
    # Newcombe 1998, method 10: of 50 pairs 36 both, 12 and 2 one alone, none neither.
    estimate = gain(*outcomes(both=36, only_before=2, only_after=12, neither=0))
    assert (estimate.low, estimate.high) == pytest.approx((0.0569, 0.3404), abs=5e-5)


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (1, 0, 1.0),
        (5, 0, 0.0625),  # 2 / 2**5
        (6, 0, 0.03125),
        (1, 8, 20 / 512),  # 2 * (1 + 9) / 2**9
        (4000, 4000, 1.0),  # powers beyond what a float holds
        (9, 2, 134 / 2048),  # 2 * (1 + 11 + 55) / 2**11
    ],
)
def test_mcnemar_is_the_sign_test_of_what_changed(better: int, worse: int, p: float) -> None:
    assert mcnemar(better, worse) == pytest.approx(p, rel=1e-3)
    assert mcnemar(worse, better) == mcnemar(better, worse)


@given(st.lists(st.sampled_from([-1.0, -0.5, -0.1, 0.0, 0.1, 0.3, 0.9]), max_size=8))
def test_permutation_of_few_is_the_enumeration_of_all_signs(differences: list[float]) -> None:
    observed = abs(sum(differences)) - 1e-9
    signed = [
        abs(sum(sign * abs(each) for sign, each in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=len(differences))
    ]
    assert permutation(differences) == pytest.approx(sum(total >= observed for total in signed) / len(signed))


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 20))
def test_of_0_and_1_the_permutation_test_is_mcnemars(better: int, worse: int, same: int) -> None:
    assert permutation([1.0] * better + [-1.0] * worse + [0.0] * same) == pytest.approx(mcnemar(better, worse))


@pytest.mark.parametrize(("better", "worse"), [(20, 10), (40, 38), (60, 30)])
def test_drawn_signs_come_close_to_all_signs(better: int, worse: int) -> None:
    assert better + worse > EXACT_PAIRS
    # Four standard errors of 10,000 draws; the p of 0 and 1 is known.
    p = mcnemar(better, worse)
    drawn = permutation([1.0] * better + [-1.0] * worse)
    assert drawn == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 10_000) + 1e-4)
    assert permutation([0.5] * 200) == pytest.approx(1 / 10_001)  # never 0


def test_permutation_finds_nothing_in_chance_about_as_often_as_it_says() -> None:
    rng = Random(5)
    ps = [permutation([rng.gauss(0, 1) for _ in range(9)]) for _ in range(400)]
    assert sum(p < 0.05 for p in ps) / len(ps) == pytest.approx(0.05, abs=0.035)


def test_bootstrap_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = Random(9)
    scores = [[rng.betavariate(2, 3) for _ in range(40)] for _ in range(120)]
    covered = sum(found.low <= 0.4 <= found.high for found in map(mean, scores))
    assert covered / 120 == pytest.approx(0.95, abs=0.06)


def test_scores_in_between_have_a_bootstrap_and_few_or_equal_ones_wilsons() -> None:
    spread = [0.2, 0.4, 0.6, 0.8] * 10
    found = mean(spread)
    assert found.value == pytest.approx(0.5)
    # The standard error is sqrt(0.05 / 40) = 0.0354.
    assert (found.low, found.high) == pytest.approx((0.431, 0.569), abs=0.01)
    assert mean([0.5] * 40) == share([True] * 20 + [False] * 20)
    few = mean([0.2, 0.9, 0.7])
    assert few.low < 0.3
    assert few.high > 0.9
    assert mean([1.0, 0.0]) == share([True, False])


@given(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.7, 1.0]), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_an_interval_holds_its_mean_and_stays_within_what_is_possible(scores: list[float], rng: Random) -> None:
    found = mean(scores)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1
    after = rng.sample(scores, len(scores))
    change = mean_gain(scores, after)
    assert -1 <= change.low <= change.value + 1e-12
    assert change.value - 1e-12 <= change.high <= 1


def test_holm_corrects_each_by_its_rank_and_keeps_their_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
