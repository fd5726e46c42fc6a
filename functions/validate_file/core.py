"""What a row may be: a chat in OpenAI's fine-tuning shape or a prompt with its completion."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from contracts.blobs import BlobRef
from contracts.events.corpus import DocumentUploaded, ZipUploaded
from contracts.events.files import FileUploaded
from contracts.formats import Skip, begins, magic
from contracts.wire.chat import MAX_DEPTH, too_deep
from functions.validate_file.row import Checked, Fault, Shape, kind_of, short, shown, strict_loads, wrapped

MAX_FUNCTIONS = 128
SHOWN_ERRORS = 100
"""Errors that an event carries; a blob has the rest."""

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_CHAT_KEYS = frozenset({"messages", "tools", "functions", "parallel_tool_calls"})
_PAIR_KEYS = frozenset({"prompt", "completion"})
_MESSAGE_KEYS = frozenset({"role", "content", "name"})
_REASONING = ("reasoning_content", "reasoning", "thinking")
"""Names under which others write what was thought before an answer."""
_ASSISTANT_KEYS = _MESSAGE_KEYS | {"weight", "tool_calls", "function_call", "refusal", *_REASONING}
_DUMPED = frozenset({"annotations"})
_TOOL_KEYS = _MESSAGE_KEYS | {"tool_call_id"}
_ALIKE = (
    ({"role", "content"}, 'It is one message; a row is {"messages": [...]}, a whole chat.'),
    ({"conversations"}, 'It is of ShareGPT\'s form; write its turns as "messages", each with "role" and "content".'),
    (
        {"instruction", "output"},
        'It is of Alpaca\'s form; write instruction and input as "prompt", output as "completion".',
    ),
    ({"contents"}, 'It is of Gemini\'s form; write its turns as "messages", each with "role" and "content".'),
    ({"prompt", "chosen", "rejected"}, "It is a preference pair; only supervised rows can be trained on for now."),
    ({"prompt", "response"}, 'Write its "response" as "completion".'),
    ({"input", "output"}, 'Write its "input" as "prompt", its "output" as "completion".'),
    ({"question", "answer"}, 'Write its "question" as "prompt", its "answer" as "completion".'),
    ({"custom_id", "body"}, "It is a request of a batch, not a row; a row has the answer too."),
    ({"text"}, 'It is text without a prompt; write it as "completion" behind an empty "prompt".'),
)
"""Keys of rows as others have them → what to do."""
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def handed_on(head: bytes, uploaded: FileUploaded, blob: BlobRef) -> ZipUploaded | DocumentUploaded | None:
    """Return what to say instead of a verdict on bytes that are no rows but documents; `blob` is the file's own."""
    said: dict[str, Any] = {**uploaded.model_dump(exclude={"blob", "format"}), "blob": blob}
    found = magic(head)
    found = begins(head) if found == "zip" else found
    if isinstance(found, Skip) or found == "zip":  # of an archive its reader says what it is, of the others this one
        return ZipUploaded(**said) if head.startswith(b"PK") else None
    return None if found is None else DocumentUploaded(**said, format=found)


def check(value: object, number: int, line: int, expected: Shape | None = None) -> Checked:
    """Return the row with everything that is wrong with it; `expected` is the shape of the rows before."""
    row = Checked(number, line)
    if isinstance(value, Fault):
        row.wrong(value.code, value.message)
    elif not isinstance(value, dict):
        row.wrong("not_an_object", "Expected file to have JSONL format, where every line is a valid JSON dictionary.")
    elif "messages" in value:
        _chat(row, value)
    elif value.keys() >= _PAIR_KEYS:
        _pair(row, value)
    else:
        _unknown_shape(row, value)
    if row.shape and expected and row.shape != expected:
        row.wrong(
            "mixed_shapes", "has another format than the rows before; use chats or prompt/completion pairs, not both."
        )
    if not row.errors:
        _check_text(row)
    return row


def _check_text(row: Checked) -> None:
    try:
        row.encode()
    except UnicodeEncodeError:
        path = next(_surrogates({"messages": row.messages, "tools": row.tools}), "")
        text = "has half a surrogate pair (such as \\ud800), which is no text. Remove it or write the whole character."
        row.wrong("lone_surrogate", text, path)
    except (RecursionError, msgspec.MsgspecError, ValueError, OverflowError) as error:
        row.wrong("invalid_json", f"cannot be written as JSON again: {short(str(error))}.")


def _surrogates(value: object, path: str = "") -> Iterator[str]:
    if isinstance(value, str):
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _surrogates(key, path)
            yield from _surrogates(item, f"{path}.{short(key)}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _surrogates(item, f"{path}[{index}]")


def _unknown_shape(row: Checked, value: Mapping[str, Any]) -> None:
    if "preferred_output" in value or "preferred_completion" in value:
        row.wrong("unsupported_format", "is a preference pair; only supervised rows can be trained on for now.")
        return
    text = "Unexpected file format, expected either prompt/completion pairs or chat messages."
    known = next((hint for keys, hint in _ALIKE if keys <= value.keys()), None)
    listed = next((name for name, held in value.items() if isinstance(held, list) and len(value) == 1), None)
    known = known or (f"It {wrapped(listed)}" if listed else f"Its keys are {_listed(value)}.")
    row.wrong("unexpected_format", f"{text} {known}")


def _pair(row: Checked, value: Mapping[str, Any]) -> None:
    row.shape = "prompt_completion"
    _known_keys(row, value, _PAIR_KEYS, "")
    for name in ("prompt", "completion"):
        text = value[name]
        if not isinstance(text, str):
            row.wrong("invalid_type", f"'{name}' must be a string, not {kind_of(text)}.", name)
        elif name == "completion" and (not text or text.isspace()):  # an empty prompt is open-ended generation
            row.wrong("empty_content", f"'{name}' is empty.", name)
    row.messages = [
        {"role": "user", "content": value["prompt"]},
        {"role": "assistant", "content": value["completion"]},
    ]


def _chat(row: Checked, value: Mapping[str, Any]) -> None:
    row.shape = "chat"
    _known_keys(row, value, _CHAT_KEYS, "")
    if not isinstance(value.get("parallel_tool_calls"), bool | None):
        row.wrong("invalid_type", "'parallel_tool_calls' must be true or false.", "parallel_tool_calls")
    _tools(row, value)
    messages = value["messages"]
    if not isinstance(messages, list) or not messages:
        row.wrong(
            "invalid_type", f"'messages' must be a list with at least one message, not {kind_of(messages)}.", "messages"
        )
        return
    calls: set[str] = set()
    for index, message in enumerate(messages):
        if isinstance(message, dict):
            _message(row, index, message, calls)
        else:
            row.wrong("invalid_type", f"must be an object, not {kind_of(message)}.", f"messages[{index}]", index)
    _turns(row, messages)


def _turns(row: Checked, messages: list[Any]) -> None:
    turns = [message for message in messages if isinstance(message, dict) and message.get("role") == "assistant"]
    if not turns:
        row.wrong("no_assistant_turn", "has no assistant message, so there is nothing to learn. Add one.", "messages")
    elif messages[-1] is not turns[-1]:
        path = f"messages[{len(messages) - 1}]"
        row.wrong("last_message", "The last message must be from the assistant.", path, len(messages) - 1)
    elif all(turn.get("weight") == 0 for turn in turns):
        row.wrong("no_trained_turn", "gives every assistant message weight 0. Give one of them weight 1.", "messages")


def _message(row: Checked, index: int, message: Mapping[str, Any], calls: set[str]) -> None:
    """Check one message and add its canonical form; `calls` are the ids of the tool calls before it."""
    path = f"messages[{index}]"

    def wrong(code: str, text: str, at: str = "") -> None:
        row.wrong(code, text, path + at, index)

    role = message.get("role")
    if role is None:
        wrong("missing_role", "Discriminator 'role' is missing in value", ".role")
        return
    if not isinstance(role, str) or role not in _ROLES:
        wrong("unknown_role", f"has the role {shown(role)}; known are {', '.join(_ROLES)}.", ".role")
        return
    known = _ASSISTANT_KEYS if role == "assistant" else _TOOL_KEYS if role == "tool" else _MESSAGE_KEYS
    _known_keys(row, message, known, path, index)
    made: dict[str, Any] = {"role": role}
    called = role == "assistant" and (message.get("tool_calls") or message.get("function_call"))
    refused = message.get("refusal") if role == "assistant" else None
    if refused is not None and message.get("content"):
        wrong("invalid_type", "has both content and refusal; keep the one that is to be learnt.", ".refusal")
    said = message.get("content") if refused is None else refused
    content = _content(said, wrong, required=not called, blank=role in ("tool", "function"))
    made["content"] = content
    name = message.get("name")
    if name is not None:
        if not isinstance(name, str) or not name:
            wrong("invalid_type", "'name' must be a non-empty string.", ".name")
        made["name"] = name
    if role == "assistant":
        _assistant(index, message, made, calls, wrong)
    elif role == "tool":
        _tool_answer(message, made, calls, wrong)
    elif role == "function":
        made = {"role": "tool", "tool_call_id": f"call_{name}", "content": content}
        if made["tool_call_id"] not in calls:
            wrong("unknown_tool_call", f"answers {shown(name)}, which no message before it called.", ".name")
    row.messages.append(made)


Wrong = Callable[..., None]


def _content(content: object, wrong: Wrong, *, required: bool, blank: bool) -> str | None:
    if isinstance(content, list):
        content = _joined(content, wrong)
        if content is None:
            return None
    if content is None:
        if required:
            wrong("empty_content", "has no content.", ".content")
    elif not isinstance(content, str):
        wrong("invalid_type", f"content must be a string or a list of text parts, not {kind_of(content)}.", ".content")
    elif required and not blank and (not content or content.isspace()):
        wrong("empty_content", "has empty content.", ".content")
    else:
        return content
    return None


def _joined(parts: list[Any], wrong: Wrong) -> str | None:
    """Join text parts as serving does: with nothing between them."""
    texts: list[str] = []
    for number, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("text", "refusal") and isinstance(part.get(kind), str):
            texts.append(part[kind])
        elif isinstance(kind, str) and kind not in ("text", "refusal"):
            text = f"has a part of type {shown(kind)}; only text can be trained on."
            wrong("unsupported_content", text, f".content[{number}]")
        else:
            wrong("invalid_type", 'a part must be {"type": "text", "text": "…"}.', f".content[{number}]")
    return "".join(texts) if len(texts) == len(parts) else None


def _assistant(index: int, message: Mapping[str, Any], made: dict[str, Any], calls: set[str], wrong: Wrong) -> None:
    weight = message.get("weight")
    if weight is not None:
        if isinstance(weight, bool) or weight not in (0, 1):
            wrong("invalid_weight", f"has the weight {shown(weight)}; it must be 0 or 1.", ".weight")
        else:
            made["weight"] = int(weight)  # data frames write 1.0
    _reasoned(message, made, wrong)
    tool_calls, legacy = message.get("tool_calls"), message.get("function_call")
    if legacy is not None:
        if tool_calls is not None:
            wrong("invalid_tool_call", "has both tool_calls and function_call; use tool_calls.", ".function_call")
        name = legacy.get("name") if isinstance(legacy, dict) else None
        tool_calls = [{"id": f"call_{name}", "type": "function", "function": legacy}]
    tool_calls = _with_arguments(tool_calls)
    if tool_calls is None:
        return
    if not isinstance(tool_calls, list) or not tool_calls:
        wrong("invalid_tool_call", "'tool_calls' must be a list with at least one call.", ".tool_calls")
        return
    if too_deep(tool_calls):
        wrong("invalid_tool_call", f"'tool_calls' must be nested at most {MAX_DEPTH} deep.", ".tool_calls")
        return
    for number, call in enumerate(tool_calls):
        problem = _call_problem(call)
        if problem:
            wrong("invalid_tool_call", problem, ".function_call" if legacy is not None else f".tool_calls[{number}]")
        else:
            calls.add(call["id"])
    made["tool_calls"] = tool_calls


def _reasoned(message: Mapping[str, Any], made: dict[str, Any], wrong: Wrong) -> None:
    for name in _REASONING:
        thought = message.get(name)
        if not isinstance(thought, str | None):
            wrong("invalid_type", f"'{name}' must be a string, not {kind_of(thought)}.", f".{name}")
        elif thought:
            made.setdefault("reasoning_content", thought)


def _with_arguments(calls: object) -> object:
    """Return calls whose arguments are JSON in a string: objects are written so, and nothing is an empty object."""
    if not isinstance(calls, list) or too_deep(calls):
        return calls
    made = []
    for call in calls:
        match call:
            case {"function": {"arguments": dict(arguments)} as function}:
                made.append({**call, "function": {**function, "arguments": json.dumps(arguments, ensure_ascii=False)}})
            case {"function": {"arguments": ""} as function}:
                made.append({**call, "function": {**function, "arguments": "{}"}})
            case _:
                made.append(call)
    return made


def _call_problem(call: object) -> str | None:
    match call:
        case {"id": str(id), "type": "function", "function": {"name": str(name), "arguments": str(arguments)}}:
            if not id or not _NAME.fullmatch(name):
                return f"the call {shown(id)} of {shown(name)} needs an id and a name of letters, digits, _ and -."
            try:
                parsed = strict_loads(arguments)
            except (ValueError, RecursionError):
                parsed = None
            if too_deep(parsed):
                return f"'arguments' must be nested at most {MAX_DEPTH} deep."
            return None if isinstance(parsed, dict) else "'arguments' must be a string that holds a JSON object."
        case _:
            return 'a call must be {"id", "type": "function", "function": {"name", "arguments": "JSON in a string"}}.'


def _tool_answer(message: Mapping[str, Any], made: dict[str, Any], calls: set[str], wrong: Wrong) -> None:
    call = message.get("tool_call_id")
    if not isinstance(call, str) or not call:
        wrong("missing_tool_call_id", "has the role tool and needs the tool_call_id that it answers.", ".tool_call_id")
    elif call not in calls:
        wrong("unknown_tool_call", f"answers the call {shown(call)}, which no message before it made.", ".tool_call_id")
    made["tool_call_id"] = call


def _tools(row: Checked, value: Mapping[str, Any]) -> None:
    tools, functions = value.get("tools"), value.get("functions")
    if tools is not None and functions is not None:
        row.wrong("invalid_tools", "has both tools and functions; use tools.", "functions")
        return
    name = "tools" if functions is None else "functions"
    given = tools if functions is None else functions
    if given is None:
        return
    if not isinstance(given, list) or len(given) > MAX_FUNCTIONS:
        row.wrong("invalid_tools", f"'{name}' must be a list of at most {MAX_FUNCTIONS}.", name)
        return
    if too_deep(given):
        row.wrong("invalid_tools", f"'{name}' must be nested at most {MAX_DEPTH} deep.", name)
        return
    made = given if name == "tools" else [{"type": "function", "function": function} for function in given]
    for number, tool in enumerate(made):
        match tool:
            case {"type": "function", "function": {"name": str(called)} as function} if _NAME.fullmatch(called):
                if not isinstance(function.get("parameters"), dict | None):
                    row.wrong("invalid_tools", "'parameters' must be a JSON schema.", f"{name}[{number}]")
            case _:
                text = 'a tool must be {"type": "function", "function": {"name", …}}, named with letters, digits, _, -.'
                row.wrong("invalid_tools", text, f"{name}[{number}]")
    row.tools = made


def _known_keys(
    row: Checked, value: Mapping[str, Any], known: frozenset[str], path: str, message: int | None = None
) -> None:
    # Dumps of API replies are full of what says nothing; annotations and indexes say nothing to a model.
    unknown = [key for key in value.keys() - known - _DUMPED if value[key] not in (None, [], {})]
    if unknown:
        text = (
            f"has the unknown key {', '.join(map(shown, sorted(unknown)[:3]))}; known are {', '.join(sorted(known))}."
        )
        row.wrong("unknown_key", text, path, message)


def _listed(value: Mapping[str, Any]) -> str:
    return ", ".join(map(shown, list(value)[:8])) or "none"
