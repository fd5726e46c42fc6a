"""Intervals and paired tests in pure Python: the same numbers on every machine, for ever."""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter
from collections.abc import Iterator, Sequence

from contracts.benchmarks import Estimate

Z = 1.959964  # of a two-sided 95 % interval
BOOTSTRAP_DRAWS = 2_000
PERMUTATION_DRAWS = 10_000
EXACT_PAIRS = 12
"""Up to so many pairs that differ, all their signs are enumerated."""
FEW = 10
"""Fewer values tell a bootstrap too little about how they vary."""


def binary(scores: Sequence[float]) -> bool:
    """Tell whether all scores are 0 or 1."""
    return all(score in (0, 1) for score in scores)


def mean(scores: Sequence[float], *, seed: int = 0) -> Estimate:
    """Return the mean of scores in 0..1 with its interval: Wilson's for 0 and 1, else the percentile bootstrap.

    From few or equal scores a bootstrap would learn too narrow an interval, or none. Wilson's holds there too, and is
    wider than need be: no scores in 0..1 with this mean vary more than 0 and 1 do.
    """
    if binary(scores) or _bootstrap_fails(scores):
        return _wilson(sum(scores), len(scores))
    return _bootstrap(scores, BOOTSTRAP_DRAWS, seed)


def share(hits: Sequence[bool]) -> Estimate:
    """Return the share of hits with Wilson's score interval."""
    return _wilson(sum(hits), len(hits))


def _wilson(hits: float, n: int) -> Estimate:
    if n == 0:
        raise ValueError("share: no answers were given, so there is nothing to score")
    p = hits / n
    centre = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return Estimate(value=p, low=max(0.0, centre - half), high=min(1.0, centre + half))


def _bootstrap_fails(values: Sequence[float]) -> bool:
    return len(values) < FEW or len(set(values)) == 1


def gain(before: Sequence[bool], after: Sequence[bool]) -> Estimate:
    """Return the difference of two shares over the same questions, by Newcombe's hybrid score interval.

    The bootstrap would give no width at all where both arms miss everything, just where the control needs one.
    Source: R. Newcombe, Statistics in Medicine 17 (1998) 2635-2650, method 10.
    """
    if len(before) != len(after):
        raise ValueError(f"gain: {len(before)} answers before and {len(after)} after are not the same questions")
    pairs = Counter(zip(after, before, strict=True))
    both, only_after, only_before, neither = (
        pairs[True, True], pairs[True, False], pairs[False, True], pairs[False, False])  # fmt: skip
    margins = (both + only_after) * (only_before + neither) * (both + only_before) * (only_after + neither)
    product = float(both * neither - only_after * only_before)
    if product > 0:
        product = max(0.0, product - len(after) / 2)
    phi = product / math.sqrt(margins) if margins else 0.0
    return _hybrid(share(after), share(before), phi)


def _hybrid(first: Estimate, second: Estimate, phi: float) -> Estimate:
    """Return first minus second, whose errors correlate by `phi`."""

    def reach(lower: Estimate, upper: Estimate) -> float:
        a, b = lower.value - lower.low, upper.high - upper.value
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    value = first.value - second.value
    return Estimate(value=value, low=value - reach(first, second), high=value + reach(second, first))


def mean_gain(
    before: Sequence[float], after: Sequence[float], *, draws: int = BOOTSTRAP_DRAWS, seed: int = 0
) -> Estimate:
    """Return the mean difference of scores in 0..1 over the same questions, by the bootstrap over questions.

    Few or equal differences have Newcombe's interval without correlation instead, which is wider.
    """
    differences = [b - a for a, b in zip(before, after, strict=True)]
    if not differences:
        raise ValueError("mean_gain: no answers were given, so there is nothing to score")
    if _bootstrap_fails(differences):
        return _hybrid(_wilson(sum(after), len(after)), _wilson(sum(before), len(before)), 0.0)
    return _bootstrap(differences, draws, seed)


def _bootstrap(values: Sequence[float], draws: int, seed: int) -> Estimate:
    n = len(values)
    means = sorted(sum(values[word * n >> 32] for word in _words(seed, draw, n)) / n for draw in range(draws))
    return Estimate(value=sum(values) / n, low=means[int(0.025 * draws)], high=means[math.ceil(0.975 * draws) - 1])


def _words(seed: int, draw: int, count: int) -> tuple[int, ...]:
    """Return `count` numbers of 32 bits: chance that depends on seed and draw alone."""
    return struct.unpack(f"<{count}I", hashlib.shake_256(f"{seed}/{draw}".encode()).digest(4 * count))


def mcnemar(better: int, worse: int) -> float:
    """Return the two-sided p of McNemar's exact test for so many pairs that differ either way."""
    n, fewer = better + worse, min(better, worse)
    tail = ways = 1
    for k in range(fewer):
        ways = ways * (n - k) // (k + 1)  # n over k + 1
        tail += ways
    return min(1.0, 2 * tail / (1 << n))


def permutation(differences: Sequence[float], *, seed: int = 0) -> float:
    """Return the two-sided p of the paired permutation test: how often random signs give as large a sum.

    Exact for up to `EXACT_PAIRS` differences that are not 0, else of `PERMUTATION_DRAWS` seeded draws, the observed
    one among them, so that it is never 0.
    """
    moved = [abs(difference) for difference in differences if difference]
    observed = abs(sum(differences)) - 1e-9  # sums of the same numbers in another order differ by rounding
    if len(moved) <= EXACT_PAIRS:
        sums = [0.0]
        for size in moved:
            sums = [total + step for total in sums for step in (size, -size)]
        return sum(abs(total) >= observed for total in sums) / len(sums)
    hits = sum(abs(total) >= observed for total in _signed_sums(moved, seed))
    return (hits + 1) / (PERMUTATION_DRAWS + 1)


def _signed_sums(sizes: Sequence[float], seed: int) -> Iterator[float]:
    """Yield sums of `sizes` under random signs; eight signs at a time are looked up."""
    tables = []
    for start in range(0, len(sizes), 8):
        table = [0.0]
        for size in sizes[start : start + 8]:
            table = [total + step for total in table for step in (size, -size)]
        tables.append(table)
    for draw in range(PERMUTATION_DRAWS):
        signs = hashlib.shake_256(f"{seed}/{draw}".encode()).digest(len(tables))
        yield sum(table[byte % len(table)] for table, byte in zip(tables, signs, strict=True))


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number, in the same order.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.
    """
    corrected, highest = [0.0] * len(values), 0.0
    for rank, at in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, (len(values) - rank) * values[at]))
        corrected[at] = highest
    return corrected
