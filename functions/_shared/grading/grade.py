"""One sample graded by one grader: texts here, models in the serving process, code in a child without a network."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.wire.graders import (
    Combined,
    Grader,
    GraderMessage,
    LabelModel,
    PythonGrader,
    ScoreModel,
    StringCheck,
    TextSimilarity,
)
from contracts.wire.templates import MissingValueError, TooLongError, render
from functions._shared.grading.graded import Graded, Values, tokens
from functions._shared.grading.scores import calculate, similarity, string_check

MOST_TOKENS = 2048
"""Of a model's verdict, where nothing else is asked for: a number may have digits without end."""
Ask = Callable[[str, Mapping[str, Any]], Awaitable[tuple[int, Any]]]
"""(a model's name, a chat's body) → status and answer; raises UnavailableError."""


Code = Callable[[str, Sequence[Values]], Awaitable[list[Graded]]]
"""(source, samples with their items) → what the code says of each."""


@dataclass(frozen=True, slots=True)
class Judges:
    """Who grades what is no matter of text alone."""

    ask: Ask
    code: Code


async def grade(grader: Grader, values: Values, judges: Judges) -> Graded:
    """Return what a grader says of a sample; what goes wrong stands in it. Raises UnavailableError."""
    begun = time.perf_counter()
    try:
        graded = await _graded(grader, values, judges)
    except MissingValueError as error:
        what = f"There is no value at {str(error)[:200]}."
        graded = Graded(error="invalid_variable_error", details=what)
    except TooLongError:
        graded = Graded(error="truncated_observation_error", details="A text with its values is too long.")
    graded.seconds = time.perf_counter() - begun
    return graded


async def _graded(grader: Grader, values: Values, judges: Judges) -> Graded:
    match grader:
        case StringCheck():
            texts = render(grader.input, values), render(grader.reference, values)
            reward = string_check(grader.operation, *texts)
            return Graded(reward, passed=bool(reward))
        case TextSimilarity():
            texts = render(grader.input, values), render(grader.reference, values)
            return Graded(await asyncio.to_thread(similarity, grader.evaluation_metric, *texts))
        case PythonGrader():
            return (await judges.code(grader.source, [values]))[0]
        case ScoreModel():
            return await _scored(grader, values, judges.ask)
        case LabelModel():
            return await _labelled(grader, values, judges.ask)
        case Combined():
            return await _combined(grader, values, judges)


async def _combined(grader: Combined, values: Values, judges: Judges) -> Graded:
    """Grade by each, one after the other, and calculate; the first that fails says so for all."""
    whole = Graded()
    for name, each in grader.graders.items():
        part = await grade(each, values, judges)
        whole.scores[name] = part.reward
        for model, usage in part.usage.items():
            before = whole.usage.get(model, {})
            whole.usage[model] = {kind: before.get(kind, 0) + tokens for kind, tokens in usage.items()}
        whole.model = whole.model or part.model
        if part.error is not None and whole.error is None:
            whole.error, whole.details = part.error, f"{name}: {part.details}"
    if whole.error is None:
        try:
            whole.reward = calculate(grader.formula, whole.scores)
        except (ArithmeticError, ValueError) as error:
            whole.error, whole.details = "formula_parse_error", f"The formula cannot be calculated: {error}."
    return whole


async def _scored(grader: ScoreModel, values: Values, ask: Ask) -> Graded:
    lowest, highest = grader.range
    sampled = grader.sampling_params.model_dump(exclude_none=True)
    if "max_completions_tokens" in sampled:
        sampled["max_completion_tokens"] = sampled.pop("max_completions_tokens")
    number = {"type": "number", "minimum": lowest, "maximum": highest}
    graded = await _said(grader.model, grader.input, values, sampled, number, ask)
    if graded.error is None:
        found = _result(graded.said)
        if isinstance(found, int | float) and not isinstance(found, bool) and lowest <= found <= highest:
            graded.reward = float(found)
        else:
            graded.error, graded.details = "model_grader_parse_error", "The model's answer has no score in the range."
    return graded


async def _labelled(grader: LabelModel, values: Values, ask: Ask) -> Graded:
    graded = await _said(grader.model, grader.input, values, {"temperature": 0}, {"enum": list(grader.labels)}, ask)
    if graded.error is None:
        label = _result(graded.said)
        if label in grader.labels:
            graded.passed = label in grader.passing_labels
            graded.reward = float(graded.passed)
        else:
            graded.error, graded.details = "model_grader_parse_error", "The model's answer has none of the labels."
    return graded


async def _said(
    model: str,
    messages: Sequence[GraderMessage],
    values: Values,
    sampled: Mapping[str, Any],
    result: Mapping[str, Any],
    ask: Ask,
) -> Graded:
    """Ask a model for a JSON object with a `result`, which its answer is held to."""
    schema = {"type": "object", "properties": {"result": result}, "required": ["result"], "additionalProperties": False}
    said = [{"role": each.role, "content": render(each.content, values)} for each in messages]
    form = {"type": "json_schema", "json_schema": {"name": "grade", "schema": schema}}
    room = {"max_completion_tokens": MOST_TOKENS}
    status, answer = await ask(model, {"messages": said, "response_format": form, **room, **sampled})
    graded = Graded(model=model)
    if status != 200:
        wrong = answer.get("error") if isinstance(answer, dict) else None
        message = wrong.get("message") if isinstance(wrong, dict) else f"it answers {status}"
        graded.error, graded.details = "model_grader_server_error", f"The model {model} does not grade: {message}"
        return graded
    graded.usage = {model: tokens(answer)}
    graded.said = answer["choices"][0]["message"].get("content") or ""
    return graded


def _result(said: str | None) -> Any:
    try:
        found = json.loads(said or "")
    except (ValueError, RecursionError):
        return None
    return found.get("result") if isinstance(found, dict) else None
