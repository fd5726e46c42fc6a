"""A serving process that says what a test tells it to, whole or in chunks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from contracts.manifest import ManifestRef
from contracts.ports import UnavailableError
from tests.functional.edge import CannedReply

HEAD = {"id": "chatcmpl-0123456789abcdef01234567", "created": 1, "model": "", "system_fingerprint": "fp"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def call(name: str, arguments: str = "{}", id: str = "call_1") -> dict[str, Any]:
    """A call of a function."""
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


@dataclass
class Says:
    """One answer."""

    content: str = ""
    thought: str = ""
    calls: tuple[dict[str, Any], ...] = ()
    finish: str = "stop"
    logprobs: bool = False

    def message(self) -> dict[str, Any]:
        """It, as a chat's message."""
        said: dict[str, Any] = {"role": "assistant", "content": self.content, "refusal": None}
        if self.thought:
            said["reasoning_content"] = self.thought
        if self.calls:
            said |= {"content": self.content or None, "tool_calls": list(self.calls)}
        return said

    def deltas(self) -> list[dict[str, Any]]:
        """It, as a stream tells it: a word at a time."""
        told: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
        told += [{"reasoning_content": word} for word in _words(self.thought)]
        told += [{"content": word} for word in _words(self.content)]
        for index, each in enumerate(self.calls):
            function = each["function"]
            told.append({"tool_calls": [{"index": index, **each, "function": {**function, "arguments": ""}}]})
            told.append({"tool_calls": [{"index": index, "function": {"arguments": function["arguments"]}}]})
        return told


def _words(text: str) -> list[str]:
    return [word + " " for word in text.split(" ")[:-1]] + [text.split(" ")[-1]] if text else []


def _logprobs(text: str) -> dict[str, Any]:
    piece = {"token": text, "logprob": -0.5, "bytes": list(text.encode())}
    return {"content": [{**piece, "top_logprobs": [piece]}], "refusal": None}


@dataclass
class Model:
    """The `Complete` port: answers in turn, the last one for ever."""

    says: list[Says | tuple[int, dict[str, Any]]]
    asked: list[dict[str, Any]] = field(default_factory=list)
    breaks: bool = False
    """Whether streams break off before they end."""
    waits: asyncio.Event | None = None
    """What a stream waits for in its middle."""
    stopped: int = 0

    async def __call__(self, path: str, body: bytes, manifest: ManifestRef, request_id: str, tenant: str) -> Any:
        asked = json.loads(body)
        self.asked.append(asked)
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, tuple):
            return CannedReply(said[0], {"content-type": "application/json"}, _once(json.dumps(said[1]).encode()))
        head = {**HEAD, "model": asked["model"]}
        if asked.get("stream"):
            return CannedReply(200, {"content-type": "text/event-stream"}, self._chunks(said, head, asked))
        logprobs = _logprobs(said.content) if asked.get("logprobs") else None
        choice = {"index": 0, "message": said.message(), "finish_reason": said.finish, "logprobs": logprobs}
        whole = {**head, "object": "chat.completion", "choices": [choice], "usage": USAGE}
        return CannedReply(200, {"content-type": "application/json"}, _once(json.dumps(whole).encode()))

    async def _chunks(self, said: Says, head: dict[str, Any], asked: dict[str, Any]) -> AsyncIterator[bytes]:
        def chunk(choices: list[Any], **more: Any) -> bytes:
            told = {**head, "object": "chat.completion.chunk", "choices": choices, **more}
            return b"data: " + json.dumps(told).encode() + b"\n\n"

        deltas = said.deltas()
        for place, delta in enumerate(deltas):
            if place == len(deltas) - 1 and self.waits is not None:
                try:
                    await self.waits.wait()
                except asyncio.CancelledError:
                    self.stopped += 1
                    raise
            logprobs = _logprobs(delta["content"]) if asked.get("logprobs") and delta.get("content") else None
            event = chunk([{"index": 0, "delta": delta, "finish_reason": None, "logprobs": logprobs}])
            yield event[:7]  # pieces end anywhere
            yield event[7:]
        if self.breaks:
            raise UnavailableError("serving")
        yield chunk([{"index": 0, "delta": {}, "finish_reason": said.finish, "logprobs": None}])
        if (asked.get("stream_options") or {}).get("include_usage"):
            yield chunk([], usage=USAGE)
        yield b"data: [DONE]\n\n"


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
