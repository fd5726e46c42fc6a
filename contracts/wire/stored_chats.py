"""Stored chats: what a stream said put together again, and OpenAI's objects of what is kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]
_ASKED = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "tools",
    "tool_choice",
    "response_format",
)
_DEFAULTS = {"temperature": 1.0, "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
_HEAD = ("id", "created", "model", "system_fingerprint")
KEPT = (*_ASKED, "messages", "parallel_tool_calls", "chat_template_kwargs", "user")
"""What is kept of a request: what it takes to ask it again."""


class Together:
    """A `chat.completion` of the chunks of a stream."""

    def __init__(self) -> None:
        self._head: Object = {}
        self._choices: dict[int, Object] = {}
        self._usage: Any = None

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take a `chat.completion.chunk`."""
        self._head = self._head or {name: chunk.get(name) for name in _HEAD}
        self._usage = chunk.get("usage") or self._usage
        for each in chunk["choices"]:
            empty = {"index": each["index"], "message": {"role": "assistant"}, "logprobs": None, "finish_reason": None}
            choice = self._choices.setdefault(each["index"], empty)
            choice["finish_reason"] = each["finish_reason"] or choice["finish_reason"]
            _extend(choice["message"], each["delta"])
            if logprobs := each.get("logprobs"):
                choice["logprobs"] = choice["logprobs"] or {"content": [], "refusal": None}
                choice["logprobs"]["content"] += logprobs["content"] or ()

    def completion(self) -> Object:
        """Return it as it would have been answered whole."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            said = choice["message"]
            content = said.get("content")
            choice["message"] = {**said, "content": content or (None if "tool_calls" in said else ""), "refusal": None}
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": self._usage}


def _extend(message: Object, delta: Mapping[str, Any]) -> None:
    for name in ("content", "reasoning_content"):
        if text := delta.get(name):
            message[name] = (message.get(name) or "") + text
    for call in delta.get("tool_calls") or ():
        calls = message.setdefault("tool_calls", [])
        if call.get("id"):
            function = {"name": call["function"]["name"], "arguments": ""}
            calls.append({"id": call["id"], "type": "function", "function": function})
        calls[-1]["function"]["arguments"] += call["function"].get("arguments") or ""


def stored_chat(content: Mapping[str, Any], metadata: Mapping[str, str]) -> Object:
    """Return a stored ChatCompletion: what was answered, and with what it was asked but for the messages."""
    asked = content["request"]
    said = {name: asked.get(name, _DEFAULTS.get(name)) for name in _ASKED}
    return {
        **content["completion"],
        **said,
        "request_id": content["request_id"],
        "input_user": asked.get("user"),
        "parallel_tool_calls": asked.get("parallel_tool_calls", True),
        "chat_template_kwargs": asked.get("chat_template_kwargs"),
        "metadata": dict(metadata),
    }


def stored_messages(id: str, content: Mapping[str, Any]) -> list[Object]:
    """Return the messages that a stored chat was asked with, each with an id."""
    return [_stored(f"{id}-{place}", message) for place, message in enumerate(content["request"]["messages"])]


def _stored(id: str, message: Mapping[str, Any]) -> Object:
    content = message.get("content")
    parts = content if isinstance(content, list) else None
    text = "".join(part.get("text") or part.get("refusal") or "" for part in parts) if parts is not None else content
    return {**message, "id": id, "content": text, "content_parts": parts}
