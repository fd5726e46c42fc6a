"""How right an answer is in a judge's eyes: DeepEval's GEval, asked in one call with steps that do not change.

Import it in a process of its own, with the environment that `judge` sets: DeepEval greets, and would report home.
Source: Y. Liu et al., G-Eval: NLG Evaluation using GPT-4 with Better Human Alignment, EMNLP 2023.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from deepeval.errors import DeepEvalError
from deepeval.metrics import GEval
from deepeval.models.base_model import DeepEvalBaseLLM
from deepeval.models.llms.utils import trim_and_load_json
from deepeval.test_case import LLMTestCase, SingleTurnParams

from functions.benchmark_model.core import JUDGE_STEPS, NOTHING, NoAnswerError

FIELDS = [SingleTurnParams.INPUT, SingleTurnParams.ACTUAL_OUTPUT, SingleTurnParams.EXPECTED_OUTPUT]
TRIES = 2
"""Replies asked for before an answer counts as one that could not be judged."""

Ask = Callable[[str, str, Mapping[str, Any] | None, bool], Awaitable[str]]
"""(prompt, name of the reply's schema, schema, whether it is asked again) → reply; raises UnansweredError."""


class CorrectnessModel(DeepEvalBaseLLM):  # type: ignore[no-untyped-call]
    """Whoever answers `ask`, as DeepEval sees it."""

    def __init__(self, ask: Ask, again: bool) -> None:
        self._ask, self._again = ask, again
        super().__init__("judge")

    def load_model(self, *_: Any, **__: Any) -> CorrectnessModel:
        """Return itself: there is nothing to load."""
        return self

    def get_model_name(self, *_: Any, **__: Any) -> str:
        """Return a name that stands in DeepEval's own logs alone."""
        return "judge"

    def generate(self, *_: Any, **__: Any) -> str:
        """Refuse: `ask` is asynchronous."""
        raise DeepEvalError("the judge is asked asynchronously")

    async def a_generate(self, prompt: str, schema: Any = None, **_: Any) -> Any:
        """Return the reply, read as `schema` where there is one."""
        shape = schema.model_json_schema() if schema else None
        text = await self._ask(prompt, schema.__name__ if schema else "", shape, self._again)
        return schema.model_validate(trim_and_load_json(text)) if schema else text


async def score(item: Mapping[str, str], ask: Ask) -> dict[str, Any]:
    """Return {score in 0..1, raw, reason} of an item's answer, or {score: None, error}: what is not known is not 0."""
    question, said, answer = (item[name] or NOTHING for name in ("question", "said", "answer"))
    case = LLMTestCase(input=question, actual_output=said, expected_output=answer)
    why = ""
    for nth in range(TRIES):
        metric = GEval("Correctness", FIELDS, evaluation_steps=list(JUDGE_STEPS), model=CorrectnessModel(ask, nth > 0))
        try:
            raw = float(await metric.a_measure(case, _show_indicator=False))
        except NoAnswerError as error:
            return {"score": None, "error": str(error)}
        except (DeepEvalError, LookupError, TypeError, ValueError) as error:  # pydantic's is a ValueError
            why = f"no score could be read from the judge's reply ({type(error).__name__})"
            continue
        if math.isfinite(raw):
            return {"score": min(1.0, max(0.0, raw)), "raw": raw, "reason": metric.reason or ""}
        why = "the judge's score is no number"
    return {"score": None, "error": why}
