"""What a chat answers as a response: items and events, in the order that OpenAI gives them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import msgspec

from contracts.wire.errors import ApiError
from contracts.wire.response_items import MAX_ITEMS, Item, Numbered, messages_of, output_text, too_many
from contracts.wire.responses import ResponseRequest

Event = dict[str, Any]
Chunk = Mapping[str, Any]
_WHY = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""`finish_reason` of an answer that was cut → why."""
MOST_CONTEXT = 2 * 2**20
"""Bytes of all items that a response is made of, those of the responses before it included."""


def numbered(id: str, first: int = 0) -> Numbered:
    """Return what gives a response's items their ids: prefix → a new one, beginning with number `first`."""
    numbers = count(first)
    return lambda prefix: f"{prefix}{id.removeprefix('resp_')}{next(numbers):04x}"


def chat_of(asked: ResponseRequest, items: Sequence[Item]) -> dict[str, Any]:
    """Return the chat that answers a response made of `items`; raises ApiError where they are too many."""
    if len(items) > MAX_ITEMS:
        raise too_many(len(items))
    if len(msgspec.json.encode(items)) > MOST_CONTEXT:
        sentence = f"The input, with the responses before it, is larger than {MOST_CONTEXT} bytes. Begin anew."
        raise ApiError(sentence, param="input", code="context_length_exceeded")
    return asked.of_chat(messages_of(items))


def begun(requested: Mapping[str, Any], view: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Response in the background before anything is answered, by what was asked and its read model."""
    return {**requested["response"], "created_at": view["created_at"] // 1000}


def is_streamed(requested: Mapping[str, Any]) -> bool:
    """Return whether the events of a response in the background are kept."""
    return bool(requested["chat"].get("stream"))


def last_event(response: Mapping[str, Any], number: int) -> Event:
    """Return the last event of a Response that is over; OpenAI's has no other name for one that was cancelled."""
    kind = "failed" if response["status"] == "cancelled" else response["status"]
    return {"type": f"response.{kind}", "sequence_number": number, "response": dict(response)}


class Responding:
    """Turns the chunks of one chat completion into the items of a response and into the events that tell of them."""

    def __init__(self, response: Mapping[str, Any], new_id: Callable[[str], str]) -> None:
        self.response: dict[str, Any] = dict(response)
        """The Response as it is now."""
        self._new_id = new_id
        self._number = 0
        self._open: dict[str, Any] | None = None
        self._logprobs: list[Any] = []
        """Of tokens that showed no text yet."""
        self._finish: str | None = None

    def begin(self) -> Iterator[Event]:
        """Yield what is told before anything is answered, in OpenAI's order: one in the background is queued first."""
        yield self._event("response.created", response=dict(self.response))
        if self.response["status"] == "queued":
            yield self._event("response.queued", response=dict(self.response))
            self.response["status"] = "in_progress"
        yield self._event("response.in_progress", response=dict(self.response))

    def chunk(self, chunk: Chunk) -> Iterator[Event]:
        """Yield what a `chat.completion.chunk` says."""
        if usage := chunk.get("usage"):
            self.response["usage"] = _usage(usage)
        for choice in chunk["choices"]:
            self._finish = choice["finish_reason"] or self._finish
            delta = choice["delta"]
            if thought := delta.get("reasoning_content"):
                yield from self._think(thought)
            elif logprobs := choice.get("logprobs"):
                self._logprobs += logprobs["content"] or ()
            if text := delta.get("content"):
                yield from self._say(text)
            for call in delta.get("tool_calls") or ():
                yield from self._call(call)

    def whole(self, completion: Mapping[str, Any], now: int) -> None:
        """Take a `chat.completion` whole, with which the answer ends; `now` is in seconds."""
        (choice,) = completion["choices"]
        message = choice["message"]
        thought = {"index": 0, "delta": {"reasoning_content": message.get("reasoning_content")}, "finish_reason": None}
        said = {"content": message["content"], "tool_calls": message.get("tool_calls")}
        rest = {**choice, "delta": said}
        for _ in (*self.chunk({"choices": [thought, rest], "usage": completion["usage"]}), *self.end(now)):
            pass

    def end(self, now: int) -> Iterator[Event]:
        """Yield what closes the answer but for its last event, which `last` has; `now` is in seconds."""
        if not self.response["output"]:
            yield from self._message()
        why = _WHY.get(self._finish or "")
        yield from self._close("incomplete" if why else "completed")
        if why:
            self.response |= {"status": "incomplete", "incomplete_details": {"reason": why}}
        else:
            self.response |= {"status": "completed", "completed_at": now}

    def last(self) -> Event:
        """Return the last event of an answer that has ended."""
        return last_event(self.response, self._next())

    def failed(self, message: str) -> Event:
        """Return the last event of an answer that cannot go on."""
        self.response |= {"status": "failed", "error": {"code": "server_error", "message": message}}
        return self.last()

    # --- one kind of item each

    def _think(self, text: str) -> Iterator[Event]:
        if self._open is None or self._open["type"] != "reasoning":
            item = {"id": self._new_id("rs_"), "type": "reasoning", "summary": [], "content": []}
            yield from self._add({**item, "encrypted_content": None})
            yield from self._add_part({"type": "reasoning_text", "text": ""})
        assert self._open is not None
        self._open["content"][0]["text"] += text
        yield self._event("response.reasoning_text.delta", **self._in_part(), delta=text)

    def _say(self, text: str) -> Iterator[Event]:
        if self._open is None or self._open["type"] != "message":
            yield from self._message()
        assert self._open is not None
        part, logprobs = self._open["content"][0], self._logprobs
        self._logprobs = []
        part["text"] += text
        part["logprobs"] += logprobs
        yield self._event("response.output_text.delta", **self._in_part(), delta=text, logprobs=logprobs)

    def _message(self) -> Iterator[Event]:
        yield from self._add({"id": self._new_id("msg_"), "type": "message", "role": "assistant", "content": []})
        yield from self._add_part(output_text(""))

    def _call(self, call: Mapping[str, Any]) -> Iterator[Event]:
        function = call["function"]
        if call.get("id"):
            item = {"id": self._new_id("fc_"), "type": "function_call", "call_id": call["id"]}
            yield from self._add({**item, "name": function["name"], "arguments": ""})
        assert self._open is not None
        if arguments := function.get("arguments"):
            self._open["arguments"] += arguments
            yield self._event("response.function_call_arguments.delta", **self._in_item(), delta=arguments)

    # --- the item that is open

    def _add(self, item: dict[str, Any]) -> Iterator[Event]:
        yield from self._close("completed")
        self._open = {**item, "status": "in_progress"}
        self.response["output"] = [*self.response["output"], self._open]
        yield self._event("response.output_item.added", output_index=self._index, item=_copy(self._open))

    def _add_part(self, part: dict[str, Any]) -> Iterator[Event]:
        assert self._open is not None
        self._open["content"].append(part)
        yield self._event("response.content_part.added", **self._in_part(), part=_copy(part))

    def _close(self, status: str) -> Iterator[Event]:
        item = self._open
        if item is None:
            return
        if item["type"] == "function_call":
            said = {"name": item["name"], "arguments": item["arguments"]}
            yield self._event("response.function_call_arguments.done", **self._in_item(), **said)
        else:
            part = item["content"][0]
            logprobs = {"logprobs": part["logprobs"]} if item["type"] == "message" else {}
            name = "output_text" if item["type"] == "message" else "reasoning_text"
            yield self._event(f"response.{name}.done", **self._in_part(), text=part["text"], **logprobs)
            yield self._event("response.content_part.done", **self._in_part(), part=part)
            if item["type"] == "reasoning" and self.response["reasoning"]["summary"]:
                yield from self._summarise(part["text"])
        item["status"] = status
        self._open = None
        yield self._event("response.output_item.done", output_index=self._index, item=item)

    def _summarise(self, text: str) -> Iterator[Event]:
        """Tell a thought as its own summary, for clients that read nothing else of it."""
        assert self._open is not None
        where = {**self._in_item(), "summary_index": 0}
        empty, whole = {"type": "summary_text", "text": ""}, {"type": "summary_text", "text": text}
        self._open["summary"] = [whole]
        yield self._event("response.reasoning_summary_part.added", **where, part=empty)
        yield self._event("response.reasoning_summary_text.delta", **where, delta=text)
        yield self._event("response.reasoning_summary_text.done", **where, text=text)
        yield self._event("response.reasoning_summary_part.done", **where, part=whole)

    @property
    def _index(self) -> int:
        return len(self.response["output"]) - 1

    def _in_item(self) -> dict[str, Any]:
        assert self._open is not None
        return {"item_id": self._open["id"], "output_index": self._index}

    def _in_part(self) -> dict[str, Any]:
        return {**self._in_item(), "content_index": 0}

    def _event(self, kind: str, **said: Any) -> Event:
        return {"type": kind, "sequence_number": self._next(), **said}

    def _next(self) -> int:
        self._number += 1
        return self._number - 1


def _copy(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item as it is now: it grows while its events wait to be written."""
    return {name: [*map(_copy, each)] if isinstance(each, list) else each for name, each in item.items()}


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    details = usage.get("completion_tokens_details") or {}
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": details.get("reasoning_tokens", 0)},
        "total_tokens": usage["total_tokens"],
    }
