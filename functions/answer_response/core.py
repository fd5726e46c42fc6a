"""Decides what a response in the background asks, and what is said of what serving answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.documents import View
from contracts.envelope import derived_id
from contracts.events.completions import CompletionFailed
from contracts.wire.responses import of_response

MOST_HOURS = 24
"""After which a response that could not be answered is given up."""
_STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def chat_of(requested: Mapping[str, Any]) -> dict[str, Any]:
    """Return the chat that is asked: as a stream, for a whole answer may take longer than a connection is waited on."""
    return {**requested["chat"], **_STREAM}


def begun(requested: Mapping[str, Any], view: View) -> dict[str, Any]:
    """Return the Response before anything is answered."""
    return {**requested["response"], "created_at": view["created_at"] // 1000, "status": "in_progress"}


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


def refused(status: int, said: Any) -> CompletionFailed:
    """Return what is said where serving does not answer, in the names of a response's parameters."""
    error = said.get("error") if isinstance(said, dict) else None
    told = of_response(error if isinstance(error, dict) else {}, status, {})
    return failed(told.message, "invalid_prompt" if status < 500 else "server_error")


def failed(message: str, code: str = "server_error") -> CompletionFailed:
    """Return the ending of a response without an answer; the code is one that OpenAI's clients know."""
    return CompletionFailed(code=code, message=message)
