"""What texts score: comparisons, similarities, formulas. Pure; libraries are imported where they are needed."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

_WORD = re.compile(r"\w+")


def string_check(operation: str, input: str, reference: str) -> float:
    """Return 1 where it holds, else 0; `like` and `ilike`: the input contains the reference."""
    holds = {
        "eq": lambda: input == reference,
        "ne": lambda: input != reference,
        "like": lambda: reference in input,
        "ilike": lambda: reference.casefold() in input.casefold(),
    }
    return float(holds[operation]())


def similarity(metric: str, input: str, reference: str) -> float:
    """Return how alike two texts are, 0..1; words are runs of letters and digits of any script."""
    if metric == "fuzzy_match":
        from rapidfuzz import fuzz

        return fuzz.ratio(input, reference) / 100
    if metric == "bleu":
        import sacrebleu

        return min(1.0, sacrebleu.sentence_bleu(input, [reference]).score / 100)
    said, wanted = _words(input), _words(reference)
    if not said or not wanted:
        return float(said == wanted)
    if metric == "gleu":
        from nltk.translate.gleu_score import sentence_gleu

        return float(sentence_gleu([wanted], said))
    if metric == "rouge_l":
        from rapidfuzz.distance import LCSseq  # rouge-score's own takes a table of all pairs of words

        return 2 * LCSseq.similarity(said, wanted) / (len(said) + len(wanted))
    from rouge_score.rouge_scorer import RougeScorer

    name = metric.replace("_", "")
    return float(RougeScorer([name], tokenizer=_Words()).score(reference, input)[name].fmeasure)


class _Words:
    def tokenize(self, text: str) -> list[str]:
        return _words(text)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


_FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "min": min, "max": max, "abs": abs, "floor": math.floor, "ceil": math.ceil,
    "exp": math.exp, "sqrt": math.sqrt, "log": math.log,
}  # fmt: skip


def calculate(node: Any, scores: Mapping[str, float]) -> float:
    """Return what a formula makes of scores; raises ArithmeticError or ValueError where it is no finite number."""
    found = _value(node, scores)
    if not math.isfinite(found):
        raise ArithmeticError("the formula makes no finite number")
    return found


def _value(node: Any, scores: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Name(id=name):
            return scores[name]
        case ast.UnaryOp(op=op, operand=operand):
            return -_value(operand, scores) if isinstance(op, ast.USub) else _value(operand, scores)
        case ast.BinOp(op=op, left=left, right=right):
            return _combined(op, _value(left, scores), _value(right, scores))
        case ast.Call(func=ast.Name(id=name), args=args):
            return float(_FUNCTIONS[name](*(_value(each, scores) for each in args), *_alone(name, args)))
    raise ValueError("no formula")


def _alone(function: str, args: Any) -> tuple[float, ...]:
    """Return what makes min and max of one number that number."""
    return (math.inf if function == "min" else -math.inf,) if function in ("min", "max") and len(args) == 1 else ()


def _combined(op: ast.operator, left: float, right: float) -> float:
    match op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
    return math.pow(left, right)
