"""Decides what a response in the background asks, and what is said of what serving answers. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from contracts.documents import View
from contracts.envelope import derived_id
from contracts.events.completions import CompletionFailed
from contracts.wire.responses import of_response
from functions._shared.keeping import without_logprobs
from functions._shared.responding import Chunk, Event

MOST_HOURS = 24
"""After which a response that could not be answered is given up."""
_DELTAS = {"response.reasoning_text.delta": "reasoning_content", "response.output_text.delta": "content"}
"""Event that tells a piece of text → where a chunk has it."""
_STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def chat_of(requested: Mapping[str, Any]) -> dict[str, Any]:
    """Return the chat that is asked: as a stream, for a whole answer may take longer than a connection is waited on."""
    return {**requested["chat"], **_STREAM}


def request_id(response: str) -> str:
    """Return the id of the request to serving."""
    return "req_" + derived_id(response, "request").replace("-", "")


def is_late(view: View, now: int) -> bool:
    """Return whether it is not tried any more; `now` is in milliseconds."""
    return now - int(view["created_at"]) > MOST_HOURS * 3600 * 1000


def late() -> CompletionFailed:
    """It waited too long."""
    return failed(f"The response could not be answered within {MOST_HOURS} hours. Create it again.")


def no_model(name: str) -> CompletionFailed:
    """The model went between the request and its answer."""
    return failed(f"The model `{name}` does not exist any more, or you do not have access to it.", "invalid_prompt")


def status_of(error: Mapping[str, Any]) -> int:
    """Return the status that an error would have had before its stream began."""
    if error.get("type") == "invalid_request_error":
        return 400
    return 503 if error.get("code") == "overloaded" else 500


def differs() -> CompletionFailed:
    """What was shown of it cannot be made again."""
    return failed("The answer broke off, and came out otherwise when it was asked again. Create the response again.")


def refused(status: int, said: Any) -> CompletionFailed:
    """Return what is said where serving does not answer, in the names of a response's parameters."""
    error = said.get("error") if isinstance(said, dict) else None
    told = of_response(error if isinstance(error, dict) else {}, status, {})
    return failed(told.message, "invalid_prompt" if status < 500 else "server_error")


def failed(message: str, code: str = "server_error") -> CompletionFailed:
    """Return the ending of a response without an answer; the code is one that OpenAI's clients know."""
    return CompletionFailed(code=code, message=message)


class DiffersError(Exception):
    """An answer that is made again is not the one that was shown."""


def check_same(kept: Event, event: Event) -> None:
    """Compare an event with the one that was shown: of rounding only log-probabilities tell; raises DiffersError."""
    if without_logprobs(kept) != without_logprobs(event):
        raise DiffersError


class Recut:
    """Cuts an answer as it was cut when it was told first: how many tokens come together depends on the moment.

    Calls get ids of their own: those that serving gives them are others each time. Raises DiffersError.
    """

    def __init__(self, id: str, kept: Iterable[Event]) -> None:
        self._call = f"call_{id.removeprefix('resp_')}"
        self._told = deque((_DELTAS[event["type"]], event["delta"]) for event in kept if event["type"] in _DELTAS)
        self._name = ""
        self._held = ""
        """A part of what was told at once; where nothing follows it, the end's events are not those that were told."""

    def __call__(self, chunk: Chunk) -> Iterator[Chunk]:
        """Yield the chunk in pieces, each as a chunk."""
        if not chunk["choices"]:
            yield chunk
        for choice in chunk["choices"]:
            delta = choice["delta"]
            bare = {**choice, "delta": {}}
            if not delta.get("reasoning_content"):
                yield {"choices": [bare]}
            for name in _DELTAS.values():
                for piece in self._pieces(name, delta.get(name) or ""):
                    yield {"choices": [{**bare, "logprobs": None, "delta": {name: piece}}]}
            if calls := delta.get("tool_calls"):
                yield {"choices": [{**bare, "logprobs": None, "delta": {"tool_calls": [*map(self._named, calls)]}}]}

    def _pieces(self, name: str, text: str) -> Iterator[str]:
        if self._held and text and name != self._name:
            raise DiffersError
        self._name, self._held = name if text else self._name, self._held + text
        while self._told and self._held:
            where, told = self._told[0]
            if where == self._name and len(self._held) < len(told) and told.startswith(self._held):
                return
            if where != self._name or not self._held.startswith(told):
                raise DiffersError
            self._told.popleft()
            self._held = self._held[len(told) :]
            yield told
        if self._held:
            piece, self._held = self._held, ""
            yield piece

    def _named(self, call: Mapping[str, Any]) -> dict[str, Any]:
        return {**call, "id": f"{self._call}{call['index']:04x}"} if call.get("id") else dict(call)
