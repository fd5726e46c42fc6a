"""OpenAI's objects for chat and text completions, as dictionaries."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from functions.generate_text.call_syntax import Call


@dataclass(frozen=True)
class AnswerPiece:
    """A token as logprobs show it: its text, bytes, log-probability and alternatives."""

    token: str
    bytes: bytes
    logprob: float | None = None
    top: tuple["AnswerPiece", ...] = ()


@dataclass(frozen=True)
class Head:
    """What every object of one answer begins with."""

    id: str
    created: int
    model: str
    fingerprint: str


def usage(prompt: int, completion: int) -> dict[str, Any]:
    """Token counts."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def chat(head: Head, choices: list[dict[str, Any]], counts: dict[str, Any]) -> dict[str, Any]:
    """A `chat.completion`."""
    return {**_head(head, "chat.completion"), "choices": choices, "usage": counts}


def chat_choice(
    index: int,
    text: str,
    finish: str,
    pieces: Sequence[AnswerPiece] | None,
    thought: str = "",
    calls: Sequence[dict[str, Any]] = (),
    old: bool = False,
) -> dict[str, Any]:
    """One choice of a `chat.completion`; what was thought before the answer, and what it calls, stand beside it.

    `old`: a call is told as `function_call`, as OpenAI did first.
    """
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    if thought:
        message["reasoning_content"] = thought
    if calls:
        told = {"function_call": calls[0]["function"]} if old else {"tool_calls": [*calls]}
        message |= {"content": text or None, **told}
    return {
        "index": index,
        "message": message,
        "logprobs": chat_logprobs(pieces),
        "finish_reason": finish,
    }


def tool_calls(calls: Sequence[Call]) -> list[dict[str, Any]]:
    """Calls of tools as a message has them, each with a new id."""
    return [
        {
            "id": f"call_{secrets.token_hex(12)}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in calls
    ]


def tool_call_deltas(calls: Sequence[Call], index: int) -> Iterator[dict[str, Any]]:
    """Calls of tools as a stream has them: the name, then the arguments; `index` is the first one's."""
    for number, call in enumerate(tool_calls(calls), start=index):
        function = call["function"]
        yield {"index": number, **call, "function": {**function, "arguments": ""}}
        yield {"index": number, "function": {"arguments": function["arguments"]}}


def chat_chunk(
    head: Head,
    index: int,
    delta: dict[str, Any],
    finish: str | None,
    pieces: Sequence[AnswerPiece] | None,
    with_usage: bool,
) -> dict[str, Any]:
    """A `chat.completion.chunk` with one choice; `usage` is null where a last chunk will carry it."""
    choice = {"index": index, "delta": delta, "logprobs": chat_logprobs(pieces), "finish_reason": finish}
    return {
        **_head(head, "chat.completion.chunk"),
        "choices": [choice],
        **({"usage": None} if with_usage else {}),
    }


def chat_logprobs(pieces: Sequence[AnswerPiece] | None) -> dict[str, Any] | None:
    """The logprobs of a chat's tokens, None where they were not asked for."""
    if pieces is None:
        return None
    content = [{**_told(piece), "top_logprobs": [_told(other) for other in piece.top]} for piece in pieces]
    return {"content": content, "refusal": None}


def completion(head: Head, choices: list[dict[str, Any]], counts: dict[str, Any]) -> dict[str, Any]:
    """A `text_completion`."""
    return {**_head(head, "text_completion"), "choices": choices, "usage": counts}


def completion_chunk(head: Head, choice: dict[str, Any], with_usage: bool) -> dict[str, Any]:
    """A streamed `text_completion` with one choice."""
    return {**_head(head, "text_completion"), "choices": [choice], **({"usage": None} if with_usage else {})}


def completion_choice(index: int, text: str, finish: str | None, logprobs: dict[str, Any] | None) -> dict[str, Any]:
    """One choice of a `text_completion`."""
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}


def completion_logprobs(pieces: Sequence[AnswerPiece] | None, k: int, offset: int = 0) -> dict[str, Any] | None:
    """The four parallel lists of a text completion; `offset` is where the first token's text begins."""
    if pieces is None:
        return None
    offsets = []
    for piece in pieces:
        offsets.append(offset)
        offset += len(piece.token)
    return {
        "tokens": [piece.token for piece in pieces],
        "token_logprobs": [piece.logprob for piece in pieces],
        "top_logprobs": [_alternatives(piece) for piece in pieces] if k else None,
        "text_offset": offsets,
    }


def usage_chunk(head: Head, kind: str, counts: dict[str, Any]) -> dict[str, Any]:
    """The last chunk of a stream whose client asked for usage: no choices."""
    return {**_head(head, kind), "choices": [], "usage": counts}


def _alternatives(piece: AnswerPiece) -> dict[str, float] | None:
    if piece.logprob is None:
        return None
    told: dict[str, float] = {}
    for other in (*piece.top, piece):  # the token itself is always listed, as at OpenAI
        if other.logprob is not None:
            told.setdefault(other.token, other.logprob)
    return told


def _told(piece: AnswerPiece) -> dict[str, Any]:
    return {"token": piece.token, "logprob": piece.logprob, "bytes": list(piece.bytes)}


def _head(head: Head, kind: str) -> dict[str, Any]:
    return {
        "id": head.id,
        "object": kind,
        "created": head.created,
        "model": head.model,
        "system_fingerprint": head.fingerprint,
    }
