"""Tools, calls and answers of tools as the text of messages, for chat templates that have no place for them. Pure.

Calls are written as the family's models write them; which family that is, its control tokens and its template say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class CallText:
    """How a family of models writes calls."""

    opening: str
    between: str
    closing: str
    syntax: Literal["json", "python"] = "json"

    def calls(self, calls: Iterable[dict[str, Any]]) -> str:
        """Return calls of a message; their arguments are objects."""
        write = _python if self.syntax == "python" else _json
        return self.opening + self.between.join(write(call["function"]) for call in calls) + self.closing

    def tools(self, tools: Sequence[dict[str, Any]], *, calls: bool) -> str:
        """Return what a system message says of tools, and of how they are called unless the template shows `calls`."""
        lines = ["These functions can be called:", *(_compact(tool.get("function", tool)) for tool in tools)]
        if not calls:
            example = {"name": "name_of_function", "arguments": {"name_of_parameter": "value"}}
            lines += ["To call them, answer in this form:", self.calls([{"function": example}])]
        return "\n".join(lines)


TAGS = CallText("<tool_call>\n", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>")
"""Of Hermes and Qwen; most models that are tuned on calls have seen it."""
_FAMILIES = (
    # LFM2 and LFM2.5: docs.liquid.ai/lfm/key-concepts/tool-use
    (
        ("<|tool_call_start|>", "<|tool_list_start|>", '"List of tools: ['),
        ("<|tool_call_start|>[", ", ", "]<|tool_call_end|>"),
    ),
    # Phi-4-mini: its model card
    (("<|/tool_call|>",), ("<|tool_call|>[", ", ", "]<|/tool_call|>")),
    # Granite 3: its template's instructions
    (("<|tool_call|>",), ("<|tool_call|>[", ", ", "]")),
    # Mistral up to 7B v0.3: mistral-common
    (("[TOOL_CALLS]",), ("[TOOL_CALLS][", ", ", "]")),
)


def call_text(template: str, tokens: Iterable[str]) -> CallText:
    """Return how the models write calls whose template and control tokens these are."""
    known = {*tokens}
    for marks, parts in _FAMILIES:
        if any(mark in known or mark in template for mark in marks):
            return CallText(*parts, syntax="python" if parts[0].startswith("<|tool_call_start|>") else "json")
    return TAGS


def answer_text(content: str) -> str:
    """Return what a user says of a tool's answer, where the template has no role for it."""
    return f"<tool_response>\n{content}\n</tool_response>"


def _json(function: dict[str, Any]) -> str:
    return _compact({"name": function["name"], "arguments": function["arguments"]})


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _python(function: dict[str, Any]) -> str:
    given = ", ".join(f"{key}={_literal(value)}" for key, value in function["arguments"].items())
    return f"{function['name']}({given})"


def _literal(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_compact(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return _compact(value) if isinstance(value, str) else repr(value)
