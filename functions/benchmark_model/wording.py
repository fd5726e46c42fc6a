"""How numbers are said: in points of 100, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.benchmarks import Estimate


def points(values: Sequence[float]) -> list[str]:
    """Return values in points of 100, with a decimal where a whole number would hide one that is not 0."""
    places = 1 if any(0 < abs(value) < 0.01 for value in values) else 0
    return [f"{round(100 * value, places) + 0.0:.{places}f}".replace("-", "−") for value in values]


def percent(value: float) -> str:
    """Return `51 %`."""
    return f"{points((value,))[0]} %"


def interval(estimate: Estimate) -> str:
    """Return `42 to 60`."""
    return " to ".join(points((estimate.low, estimate.high)))


def span(difference: Estimate) -> str:
    """Return `38 points (26 to 48)`."""
    value, low, high = points((difference.value, difference.low, difference.high))
    return f"{value} point{'' if value in ('1', '−1') else 's'} ({low} to {high})"


def says(metric: str, value: float) -> str:
    """Return what a model does that has this mean score, as in `answers 51 % right`."""
    match metric:
        case "exact_match" | "acc" | "acc_norm":
            return f"answers {percent(value)} right"
        case "refusal":
            return f"declines {percent(value)}"
        case "judge":
            return f"is given {percent(value)} by the judge"
        case _:
            return f"scores {percent(value)} ({METRIC_NAMES.get(metric, metric)})"


METRIC_NAMES = {
    "exact_match": "exact match",
    "f1": "F1",
    "rouge_l": "ROUGE-L",
    "judge": "judge",
    "refusal": "declined",
    "acc": "accuracy",
    "acc_norm": "accuracy, by length",
}
"""Metric → as a reader sees it."""
