"""Chats as the models' templates know them: one function, so that training and serving render alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

MAX_DEPTH = 64
"""Levels of objects and arrays in a chat's tools and arguments: what renders a row must render it everywhere."""


def refusal(error: BaseException) -> str:
    """Return why a template refused a chat, in the words of its author; those of the template engine help nobody."""
    if type(error).__name__ == "TemplateError":  # what a template's own raise_exception raises, not a subclass of it
        return str(error)[:300].rstrip(".")
    return "it cannot show such a chat; look at its roles, their order, and at tool calls"


def too_deep(value: object) -> bool:
    """Return whether objects and arrays are nested deeper than MAX_DEPTH."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [each for each in level if isinstance(each, dict | list)]
        if not level:
            return False
        level = [item for each in level for item in (each.values() if isinstance(each, dict) else each)]
    return True


def modern(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message of OpenAI's old form, `function_call` and the role `function`, in today's; others as they are.

    Arguments that are empty are an empty object, as clients send them back for a call without any.
    """
    made = dict(message)
    legacy = made.pop("function_call", None)
    if isinstance(legacy, dict) and not made.get("tool_calls"):
        made["tool_calls"] = [{"id": f"call_{legacy.get('name')}", "type": "function", "function": legacy}]
    if made.get("role") == "function":
        made |= {"role": "tool", "tool_call_id": f"call_{made.pop('name', None)}"}
    if isinstance(calls := made.get("tool_calls"), list):
        made["tool_calls"] = [_with_arguments(call) for call in calls]
    return made


def _with_arguments(call: Any) -> Any:
    match call:
        case {"function": {"arguments": ""} as function}:
            return {**call, "function": {**function, "arguments": "{}"}}
        case _:
            return call


def plain(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages without weights and nulls, the arguments of calls as objects; ValueError if one is no JSON."""
    made = []
    for message in messages:
        shown = {name: value for name, value in message.items() if name != "weight" and value is not None}
        if "tool_calls" in shown:
            shown["tool_calls"] = [
                {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
                for call in shown["tool_calls"]
            ]
        made.append(shown)
    return made
