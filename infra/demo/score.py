"""Scores of answers and the intervals of a gain: pure functions, for the demo's table."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

Z = 1.959964  # of a two-sided 95 % interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share or a difference of shares with its 95 % interval, all in 0..1 (a difference in -1..1)."""

    value: float
    low: float
    high: float


def exact(prediction: str, answer: str) -> bool:
    """Tell whether the prediction is the answer, but for white space around it."""
    return prediction.strip() == answer.strip()


def f1(prediction: str, answer: str) -> float:
    """Return the word overlap of SQuAD: harmonic mean of precision and recall, without case, marks and articles."""
    given, wanted = _bare_words(prediction), _bare_words(answer)
    if not given or not wanted:
        return float(given == wanted)
    common = sum((Counter(given) & Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted))


def _bare_words(text: str) -> list[str]:
    unmarked = text.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", unmarked).split()


def share(hits: Sequence[bool]) -> Estimate:
    """Return the share of hits with Wilson's score interval."""
    n = len(hits)
    if n == 0:
        raise ValueError("share: no answers were given, so there is nothing to score")
    p = sum(hits) / n
    centre = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return Estimate(p, max(0.0, centre - half), min(1.0, centre + half))


def gain(before: Sequence[bool], after: Sequence[bool]) -> Estimate:
    """Return the difference of two shares over the same questions, by Newcombe's hybrid score interval.

    The bootstrap would give no width at all where both arms miss everything, just where the control needs one.
    Source: R. Newcombe, Statistics in Medicine 17 (1998) 2635-2650, method 10.
    """
    if len(before) != len(after):
        raise ValueError(f"gain: {len(before)} answers before and {len(after)} after are not the same questions")
    first, second = share(after), share(before)
    pairs = Counter(zip(after, before, strict=True))
    both, only_after, only_before, neither = (
        pairs[True, True], pairs[True, False], pairs[False, True], pairs[False, False])  # fmt: skip
    margins = (both + only_after) * (only_before + neither) * (both + only_before) * (only_after + neither)
    product = float(both * neither - only_after * only_before)
    if product > 0:
        product = max(0.0, product - len(after) / 2)
    phi = product / math.sqrt(margins) if margins else 0.0
    difference = first.value - second.value
    down, up = _hybrid(first, second, phi), _hybrid(second, first, phi)
    return Estimate(difference, difference - down, difference + up)


def _hybrid(lower: Estimate, upper: Estimate, phi: float) -> float:
    a, b = lower.value - lower.low, upper.high - upper.value
    return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def mean_gain(before: Sequence[float], after: Sequence[float], *, draws: int = 2000, seed: int = 0) -> Estimate:
    """Return the mean difference of scores over the same questions, by the percentile bootstrap over questions."""
    differences = [b - a for a, b in zip(before, after, strict=True)]
    n, rng = len(differences), Random(seed)
    if n == 0:
        raise ValueError("mean_gain: no answers were given, so there is nothing to score")
    means = sorted(sum(rng.choices(differences, k=n)) / n for _ in range(draws))
    return Estimate(sum(differences) / n, means[int(0.025 * draws)], means[math.ceil(0.975 * draws) - 1])
