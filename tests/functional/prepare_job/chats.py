"""Nine chats as users' rows have them; every word that matters is a made-up one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

Messages = list[dict[str, Any]]

_SYSTEM = {"role": "system", "content": "You are zqsystem and terse."}
_DEVELOPER = {"role": "developer", "content": "You are zqdeveloper and terse."}
ASK = {"role": "user", "content": "What does zqfirst say?"}
_REPLY = {"role": "assistant", "content": 'It says "zqreply": 3 < 4 & ü.\nThen zqline.'}
_AGAIN = {"role": "user", "content": "And zqsecond?"}
_MORE = {"role": "assistant", "content": "That is zqmore."}
_THIRD = {"role": "user", "content": "And zqthird?"}
_LAST = {"role": "assistant", "content": "That is zqlast."}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "zqid12345",
            "type": "function",
            "function": {"name": "zqtool", "arguments": '{"zqplace": "zqoslo", "zqdays": 3}'},
        }
    ],
}
_RESULT = {
    "role": "tool",
    "tool_call_id": "zqid12345",
    "name": "zqtool",
    "content": '{"zqstate": "<zqrain>", "zqdegrees": 4}',
}
_REASONED = {
    "role": "assistant",
    "reasoning_content": "First zqthought, then zqafter.",
    "content": "So it is zqconcluded.",
}
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "zqtool",
            "description": "Tells zqweather.",
            "parameters": {
                "type": "object",
                "properties": {
                    "zqplace": {"type": "string", "description": "Where zqwhere."},
                    "zqdays": {"type": "integer", "description": "How zqlong."},
                },
                "required": ["zqplace"],
            },
        },
    }
]


@dataclass(frozen=True)
class Case:
    """A chat as a user's row has it."""

    name: str
    messages: Messages
    tools: list[Any] | None = None

    @property
    def trained(self) -> list[int]:
        """Indices of the messages that are trained on."""
        return [i for i, m in enumerate(self.messages) if m["role"] == "assistant" and m.get("weight") != 0]


CASES = (
    Case("plain", [ASK, _REPLY]),
    Case("system", [_SYSTEM, ASK, _REPLY]),
    Case("turns", [ASK, _REPLY, _AGAIN, _MORE, _THIRD, _LAST]),
    Case("weight 0", [ASK, {**_REPLY, "weight": 0}, _AGAIN, _MORE]),
    Case("developer", [_DEVELOPER, ASK, _REPLY]),
    Case("tool call", [ASK, CALL], _TOOLS),
    Case("tool answer", [ASK, {**CALL, "weight": 0}, _RESULT, _REPLY], _TOOLS),
    Case("reasoning", [ASK, _REASONED]),
    Case("tools, two turns", [_SYSTEM, ASK, CALL, _RESULT, _REPLY, _AGAIN, _MORE], _TOOLS),
)


def words(value: object) -> set[str]:
    """Return the made-up words of a message or of tools; an id that a template need not show is none."""
    return set(re.findall(r"zq[a-z]+\b", json.dumps(value))) - {"zqid"}
