"""Chats as the models' templates know them: one function, so that training and serving render alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


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
