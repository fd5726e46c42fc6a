"""What is graded, and what a grader says of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FLAGS = (
    "formula_parse_error", "sample_parse_error", "truncated_observation_error", "unresponsive_reward_error",
    "invalid_variable_error", "other_error", "python_grader_server_error", "python_grader_runtime_error",
    "model_grader_server_error", "model_grader_refusal_error", "model_grader_parse_error",
)  # fmt: skip
"""OpenAI's names of what may go wrong."""
Values = Mapping[str, Any]
"""`sample` and `item`, which templates and code see."""


@dataclass
class Graded:
    """What a grader says of a sample."""

    reward: float = 0.0
    passed: bool | None = None
    """Where the grader itself says so, without a threshold."""
    scores: dict[str, float] = field(default_factory=dict)
    """Of the graders that it combines."""
    error: str | None = None
    """One of FLAGS; the reward is 0 then."""
    details: str | None = None
    usage: dict[str, dict[str, int]] = field(default_factory=dict)
    """Model → its tokens."""
    model: str | None = None
    """Which graded."""
    said: str | None = None
    """What that one wrote."""
    seconds: float = 0.0


def sample_of(text: str, message: Mapping[str, Any] | None = None, finish_reason: str = "stop") -> dict[str, Any]:
    """Return the namespace `sample` of an answer; `output_json` is there where the text is JSON."""
    message = message or {"role": "assistant", "content": text}
    choice = {"index": 0, "message": dict(message), "finish_reason": finish_reason}
    sample = {"output_text": text, "output_tools": message.get("tool_calls") or [], "choices": [choice]}
    try:
        return {**sample, "output_json": json.loads(text, parse_constant=_no_constant)}
    except (ValueError, RecursionError):
        return sample


def _no_constant(text: str) -> None:
    raise ValueError(text)


def tokens(answer: Mapping[str, Any]) -> dict[str, int]:
    """Return how many tokens an answer took."""
    usage = answer.get("usage") or {}
    return {kind: int(usage.get(kind) or 0) for kind in ("prompt_tokens", "completion_tokens", "total_tokens")}
