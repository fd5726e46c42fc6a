"""What a template says of itself: asked through transformers alone, in every way in which templates want chats."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.functional.prepare_job.chats import Case, Messages, words


def _spelled(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the ways in which templates want a message."""
    plain = {name: value for name, value in message.items() if name != "weight"}
    if message["role"] == "developer":
        return [plain, {**plain, "role": "system"}]
    if "reasoning_content" in message:
        rest = {name: value for name, value in plain.items() if name != "reasoning_content"}
        names = ("reasoning_content", "thinking", "reasoning")
        return [{**rest, name: message["reasoning_content"]} for name in names]
    if "tool_calls" not in message:
        return [plain]
    made = []
    for arguments, content in itertools.product((json.loads, str), (None, "", ...)):
        call = copy.deepcopy(plain)
        for each in call["tool_calls"]:
            each["function"]["arguments"] = arguments(each["function"]["arguments"])
        call["content"] = content
        made.append({name: value for name, value in call.items() if value is not ...})
    return made


def spellings(messages: Messages) -> Iterator[Messages]:
    """Yield a chat in every way in which templates want it, the same way for all its messages of a kind."""
    by_message = [_spelled(message) for message in messages]
    for way in range(max(map(len, by_message), default=1)):
        yield [each[way % len(each)] for each in by_message]


def _given(tools: list[Any] | None) -> list[dict[str, Any]]:
    """Return the ways in which templates are given tools, and what tells them to show a thought."""
    thinking = {"enable_thinking": True, "thinking": True}
    if tools is None:
        return [{"tools": None}, {"tools": []}, {"tools": None, **thinking}, {"functions": "[]", "datetime": "now"}]
    return [
        {"tools": tools},
        {"tools": tools, **thinking},
        {"tools": tools, "functions": json.dumps(tools), "datetime": "now"},
    ]


@dataclass
class Shown:
    """What a template shows of a chat up to and with one trained turn."""

    texts: list[str] = field(default_factory=list)
    """Whole chats in which no word is missing."""
    missing: set[str] = field(default_factory=set)
    """Words that are left out, in whatever spelling."""
    raised: list[str] = field(default_factory=list)
    """What the template said where it refused."""

    @property
    def why_not(self) -> str:
        """Why nothing can be trained of it."""
        if self.missing:
            return f"leaves out {', '.join(sorted(self.missing))}"
        return f"raises {self.raised[0]}"


def shown(tokenizer: Any, case: Case, turn: int) -> Shown:
    """Ask the template itself, in every spelling, for the chat that ends with a turn."""
    found = Shown()
    asked, said = words([*case.messages[:turn], case.tools or []]), words(case.messages[turn : turn + 1])
    for chat, given in itertools.product(spellings(case.messages[: turn + 1]), _given(case.tools)):
        try:
            prompt = tokenizer.apply_chat_template(chat[:turn], tokenize=False, add_generation_prompt=True, **given)
            text = tokenizer.apply_chat_template(chat, tokenize=False, **given)
        except Exception as error:  # noqa: BLE001  whatever a template raises is its refusal
            found.raised.append(f"{type(error).__name__}: {error}")
            continue
        missing = (said - words(text)) | (asked - words(prompt))
        found.missing |= missing
        if not missing:
            found.texts.append(text)
    return found
