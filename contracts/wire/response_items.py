"""Items of a response, as they come in and as they are kept, and the same as messages of a chat. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from contracts.wire.chat import MAX_DEPTH, too_deep
from contracts.wire.errors import ApiError, invalid_value, missing, shown

MAX_ITEMS = 4096
"""Of one request, those that it goes on from included."""
MAX_ID = 64
Item = dict[str, Any]
Numbered = Callable[[str], str]
"""Prefix of a kind of item → a new id."""
ROLES = ("user", "assistant", "system", "developer")
SERVED = ("message", "function_call", "function_call_output", "reasoning")
_PREFIXES = {"message": "msg_", "function_call": "fc_", "function_call_output": "fco_", "reasoning": "rs_"}
_TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")


def output_text(text: str, logprobs: Sequence[Any] = ()) -> Item:
    """A part of an answer."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": [*logprobs]}


def read_input(given: Any, new_id: Numbered) -> list[Item]:
    """Return what `input` holds as items with ids; raises ApiError: what is wrong, and where."""
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if given is None:
        raise missing("input")
    if not isinstance(given, list | tuple):
        raise _wrong("input", "a string or an array of items", given)
    if not given:
        raise ApiError("Invalid 'input': an empty array says nothing.", param="input", code="empty_array")
    if len(given) > MAX_ITEMS:
        raise too_many(len(given))
    return [_item(each, f"input[{place}]", new_id) for place, each in enumerate(given)]


def too_many(count: int) -> ApiError:
    """More items than one request may have."""
    sentence = f"Invalid 'input': too many items. Expected at most {MAX_ITEMS}, but got {count}."
    return ApiError(sentence, param="input", code="array_above_max_length")


def _item(given: Any, where: str, new_id: Numbered) -> Item:
    if not isinstance(given, dict):
        raise _wrong(where, "an object", given)
    kind = given.get("type") or ("message" if "role" in given else "item_reference" if "id" in given else None)
    if kind is None:
        raise missing(f"{where}.type")
    if kind not in SERVED:
        known = ", ".join(SERVED)
        sentence = f"Invalid '{where}': items of type {shown(kind)} are not served. Served are: {known}."
        raise ApiError(sentence, param=where, code="unsupported")
    id = given.get("id")
    if not (isinstance(id, str) and 0 < len(id) <= MAX_ID):
        id = new_id(_PREFIXES[kind])
    return {"id": id, "type": kind, **_KINDS[kind](given, where)}


def _message(given: Mapping[str, Any], where: str) -> Item:
    role = given.get("role")
    if role not in ROLES:
        raise invalid_value(f"{where}.role", role, ROLES) if role is not None else missing(f"{where}.role")
    if given.get("content") is None:
        raise missing(f"{where}.content")
    texts = _texts(given["content"], f"{where}.content")
    if role == "assistant":
        content = [output_text(text) for text in texts]
    else:
        content = [{"type": "input_text", "text": text} for text in texts]
    return {"status": "completed", "role": role, "content": content}


def _call(given: Mapping[str, Any], where: str) -> Item:
    said = {name: _text(given, name, where) for name in ("call_id", "name", "arguments")}
    said["arguments"] = said["arguments"] or "{}"
    try:
        arguments = json.loads(said["arguments"])
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict) or too_deep(arguments):
        param = f"{where}.arguments"
        sentence = f"Invalid '{param}': expected a JSON object in a string, nested at most {MAX_DEPTH} deep."
        raise ApiError(sentence, param=param, code="invalid_value")
    return {**said, "status": "completed"}


def _output(given: Mapping[str, Any], where: str) -> Item:
    if given.get("output") is None:
        raise missing(f"{where}.output")
    output = "".join(_texts(given["output"], f"{where}.output"))
    return {"call_id": _text(given, "call_id", where), "output": output, "status": "completed"}


def _reasoning(given: Mapping[str, Any], where: str) -> Item:
    content, summary = given.get("content") or (), given.get("summary") or ()
    return {
        "summary": [{"type": "summary_text", "text": text} for text in _texts(summary, f"{where}.summary")],
        "content": [{"type": "reasoning_text", "text": text} for text in _texts(content, f"{where}.content")],
        "status": "completed",
    }


_KINDS: Mapping[str, Callable[[Mapping[str, Any], str], Item]] = {
    "message": _message,
    "function_call": _call,
    "function_call_output": _output,
    "reasoning": _reasoning,
}


def _texts(content: Any, where: str) -> list[str]:
    """Return the texts of a content, which is one or a list of parts."""
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list | tuple):
        raise _wrong(where, "a string or an array of parts", content)
    if len(content) > MAX_ITEMS:
        raise too_many(len(content))
    return [_part(part, f"{where}[{place}]") for place, part in enumerate(content)]


def _part(part: Any, where: str) -> str:
    match part:
        case {"type": str(kind), "text": str(text)} if kind in _TEXTS:
            return text
        case {"type": "refusal", "refusal": str(text)}:
            return text
        case {"type": kind} if kind in _TEXTS:
            raise missing(f"{where}.text")
        case {"type": kind}:
            sentence = f"Invalid '{where}': parts of type {shown(kind)} are not served: models read and write text."
            raise ApiError(sentence, param=where, code="unsupported")
    raise _wrong(where, "an object with a type", part)


def _text(given: Mapping[str, Any], name: str, where: str) -> str:
    value = given.get(name)
    if value is None:
        raise missing(f"{where}.{name}")
    if not isinstance(value, str):
        raise _wrong(f"{where}.{name}", "a string", value)
    return value


def _wrong(where: str, expected: str, value: object) -> ApiError:
    sentence = f"Invalid type for '{where}': expected {expected}, but got {shown(value)} instead."
    return ApiError(sentence, param=where, code="invalid_type")


# --- as a chat


def messages_of(items: Iterable[Item]) -> list[dict[str, Any]]:
    """Return a chat's messages; what one turn thought, said and called is one message, as templates show it.

    Raises ApiError for the output of a call that nobody made.
    """
    made: list[dict[str, Any]] = []
    calls: set[str] = set()
    for item in items:
        kind = item["type"]
        if kind == "function_call_output":
            if item["call_id"] not in calls:
                sentence = f"No tool call found for function call output with call_id {shown(item['call_id'])}."
                raise ApiError(sentence, param="input", code="invalid_value")
            made.append({"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]})
        elif kind == "message" and item["role"] != "assistant":
            made.append({"role": item["role"], "content": _joined(item["content"])})
        else:
            _add(made, item)
            calls |= {item["call_id"]} if kind == "function_call" else set()
    for message in made:
        if message["role"] == "assistant" and not message.get("tool_calls"):
            message.setdefault("content", "")
    return made


def _add(made: list[dict[str, Any]], item: Item) -> None:
    """Add a part of an assistant's turn to the turn that is open, or begin one."""
    turn = made[-1] if made and made[-1]["role"] == "assistant" else None
    if item["type"] == "function_call":
        turn = _begun(made) if turn is None else turn
        function = {"name": item["name"], "arguments": item["arguments"]}
        turn.setdefault("tool_calls", []).append({"id": item["call_id"], "type": "function", "function": function})
    elif item["type"] == "message":
        turn = _begun(made) if turn is None or "content" in turn or "tool_calls" in turn else turn
        turn["content"] = _joined(item["content"])
    elif text := "\n".join(part["text"] for part in item["content"] or item["summary"]):
        turn = _begun(made) if turn is None or turn.keys() - {"role"} else turn
        turn["reasoning_content"] = text


def _begun(made: list[dict[str, Any]]) -> dict[str, Any]:
    made.append({"role": "assistant"})
    return made[-1]


def _joined(content: Iterable[Mapping[str, Any]]) -> str:
    return "".join(part["text"] for part in content)
