"""How a chat is given to a template so that the template shows all of it: found out by rendering probes."""

from __future__ import annotations

import hashlib
import html
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from functions._shared.tool_text import TAGS, CallText, answer_text, call_text

Messages = list[dict[str, Any]]
Render = Callable[[Sequence[dict[str, Any]], Any, Mapping[str, Any]], str]
"""Of messages, tools and variables, with the generation prompt; raises whatever the template raises."""

REASONING = ("reasoning_content", "thinking", "reasoning")
"""Fields in which a message may carry what was thought before its content."""
QUESTION, ANSWER, THOUGHT = "Zqquestion", "Zqanswer", "Zqthought"
VALUE = "zqvalue"
_NAME, _KEY, _RESULT, _SYSTEM = "zqname", "zqkey", "Zqresult", "Zqsystem"
ASKED = {"role": "user", "content": QUESTION}
TOOL = {
    "type": "function",
    "function": {
        "name": _NAME,
        "description": "Zqdescription.",
        "parameters": {"type": "object", "properties": {_KEY: {"type": "string", "description": "Zqtext."}}},
    },
}
CALL = {"id": "call_zq1", "type": "function", "function": {"name": _NAME, "arguments": {_KEY: VALUE}}}
CALLED = {"role": "assistant", "tool_calls": [CALL]}
_ID_LENGTH = 9
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([nrt\"'\\/]))")
_SWITCHING = {"/think", "/no_think", "/nothink"}
"""What some templates take out of a message and obey."""
_PLAIN = {"n": "\n", "r": "\r", "t": "\t"}


def words_missing(content: str, text: str) -> bool:
    """Whether a word of `content` stands nowhere in `text`, be it trimmed, escaped as JSON or HTML, or moved."""
    if content.strip() in text:
        return False
    words = set(content.split()) - _SWITCHING
    if all(word in text for word in words):
        return False
    shown = html.unescape(_ESCAPED.sub(lambda found: _unescaped(found[1], found[2]), text))
    return not all(word in shown or word in text for word in words)


def _unescaped(code: str | None, letter: str | None) -> str:
    return chr(int(code, 16)) if code else _PLAIN.get(letter or "", letter or "")


def lost(messages: Sequence[Mapping[str, Any]], text: str) -> int | None:
    """Return the place of the first message, other than the assistant's, of which a word is missing; None: none."""
    for index, message in enumerate(messages):
        if message["role"] != "assistant" and words_missing(as_text(message.get("content")), text):
            return index
    return None


def as_text(content: Any) -> str:
    """Return a message's content as one text."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def reasoning_of(message: Mapping[str, Any]) -> str:
    """Return what was thought before a message, empty where nothing was."""
    return next((message[name] for name in REASONING if isinstance(message.get(name), str) and message[name]), "")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a template wants of messages and tools."""

    parts: bool = False
    """Content is a list of parts, not a text."""
    system: bool = True
    """It has a place for a system message; else that stands before the next user's words."""
    developer: bool = False
    """It knows the role; else a developer's message is a system message."""
    arguments: Literal["object", "string"] = "object"
    bare: Literal["absent", "null", "empty"] = "absent"
    """The content of a message that only calls tools."""
    short_ids: bool = False
    """Ids of calls have nine letters and digits."""
    tools: str = "tools"
    """The variable in which it looks for tools."""
    tools_form: Literal["tools", "functions", "text"] = "tools"
    shows_tools: bool = False
    empty: bool = False
    """Where there are no tools it wants an empty list."""
    reasoning: str | None = None
    """The field, or `parts` or `inline`, in which it shows what was thought; None: it does not."""
    calls: bool = False
    """It shows calls of tools."""
    results: bool = False
    """It shows what tools answer."""
    text: CallText = TAGS
    """How tools and calls are written into messages where it does not show them."""

    def shaped(self, messages: Sequence[dict[str, Any]], tools: Sequence[Any] | None) -> Messages:
        """Return the messages as the template wants them, with what it has no place for in their text."""
        names: dict[str, str] = {}
        told = [self._written(message) for message in messages]
        if tools and not self.shows_tools:
            told = _instructed(told, self.text.tools(tools, calls=self.calls))
        made = [self._shaped(message, names) for message in told]
        return made if self.system else folded(made)

    def given(self, tools: Sequence[Any] | None) -> tuple[Any, dict[str, Any]]:
        """Return the tools as the template wants them: what is passed as tools, and variables."""
        if not self.shows_tools:
            tools = None
        if self.tools == "tools" and self.tools_form == "tools":
            return (list(tools or ()) if tools or self.empty else None), {}
        bare = [tool.get("function", tool) for tool in tools or ()]
        shown: Any = bare if self.tools_form == "functions" else list(tools or ())
        return None, {self.tools: json.dumps(shown, ensure_ascii=False) if self.tools_form == "text" else shown}

    def _written(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return a message in whose text stands what the template would leave out."""
        said = as_text(message.get("content"))
        if message["role"] == "tool" and not self.results:
            return {"role": "user", "content": answer_text(said)}
        calls = message.get("tool_calls")
        if not calls or self.calls:
            return message
        rest = {name: value for name, value in message.items() if name != "tool_calls"}
        return {**rest, "content": f"{said}\n{self.text.calls(calls)}" if said else self.text.calls(calls)}

    def _shaped(self, message: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
        made = {name: value for name, value in message.items() if name not in REASONING}
        if made["role"] == "developer" and not self.developer:
            made["role"] = "system"
        if calls := made.get("tool_calls"):
            made["tool_calls"] = [self._call(call, names) for call in calls]
            if not made.get("content"):
                made = _bare(made, self.bare)
        if made["role"] == "tool" and isinstance(id := made.get("tool_call_id"), str):
            made["tool_call_id"] = self._id(id)
            if names.get(id):
                made.setdefault("name", names[id])
        if self.parts and isinstance(made.get("content"), str):
            made["content"] = [{"type": "text", "text": made["content"]}]
        thought = reasoning_of(message)
        return self._with(made, thought) if thought else made

    def _with(self, made: dict[str, Any], thought: str) -> dict[str, Any]:
        if self.reasoning == "parts":
            said = as_text(made.get("content"))
            parts = [{"type": "thinking", "thinking": thought}, *([{"type": "text", "text": said}] if said else [])]
            return {**made, "content": parts}
        if self.reasoning == "inline":
            return {**made, "content": f"<think>\n{thought}\n</think>\n\n{as_text(made.get('content'))}"}
        return {**made, self.reasoning: thought} if self.reasoning else made

    def _call(self, call: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
        function, made = dict(call["function"]), dict(call)
        if self.arguments == "string" and not isinstance(function["arguments"], str):
            function["arguments"] = json.dumps(function["arguments"], ensure_ascii=False)
        if isinstance(id := call.get("id"), str):
            names[id] = function.get("name", "")
            made["id"] = self._id(id)
        return {**made, "function": function}

    def _id(self, id: str) -> str:
        if not self.short_ids or (len(id) == _ID_LENGTH and id.isalnum()):
            return id
        return hashlib.sha256(id.encode()).hexdigest()[:_ID_LENGTH]


def _bare(message: dict[str, Any], how: str) -> dict[str, Any]:
    without = {name: value for name, value in message.items() if name != "content"}
    return without if how == "absent" else {**without, "content": None if how == "null" else ""}


def _instructed(messages: Messages, text: str) -> Messages:
    """Return a chat whose first system message, which may be a new one, ends with a text."""
    if not messages or messages[0]["role"] not in ("system", "developer"):
        return [{"role": "system", "content": text}, *messages]
    said = as_text(messages[0].get("content"))
    return [{**messages[0], "content": f"{said}\n\n{text}"}, *messages[1:]]


def folded(messages: Messages) -> Messages:
    """Return the chat with each system message before the words of the user who speaks next, if one does."""
    made: Messages = []
    waiting = ""
    for message in messages:
        if message["role"] in ("system", "developer"):
            waiting += as_text(message.get("content")) + "\n\n"
        elif waiting and message["role"] == "user":
            made.append(_before(waiting, message))
            waiting = ""
        else:
            made.append(message)
    return [*made, {"role": "user", "content": waiting.strip()}] if waiting else made


def merged(messages: Messages) -> Messages:
    """Return the chat with what one user says in several messages as one."""
    made: Messages = []
    for message in messages:
        if made and message["role"] == made[-1]["role"] and message["role"] in ("user", "system"):
            made[-1] = _before(as_text(made[-1].get("content")) + "\n\n", {**made[-1], **message})
        else:
            made.append(message)
    return made


def _before(text: str, message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": [{"type": "text", "text": text}, *content]}
    return {**message, "content": text + (content or "")}


def plainer(tools: Sequence[Any]) -> list[Any]:
    """Return tools for a template that fails at theirs: every schema has one type, and says what most schemas say."""
    return [_plain_tool(tool) for tool in tools]


def _plain_tool(tool: dict[str, Any]) -> dict[str, Any]:
    if isinstance(function := tool.get("function"), dict):
        return {**tool, "function": _plain_tool(function)}
    parameters = tool.get("parameters") or {}
    shown = {**parameters, "type": "object", "properties": parameters.get("properties") or {}}
    return {**tool, "description": tool.get("description") or "", "parameters": _plain_schema(shown)}


def _plain_schema(schema: Any) -> dict[str, Any]:
    schema = schema if isinstance(schema, dict) else {}
    made = {**schema, "type": _plain_type(schema), "description": schema.get("description") or ""}
    if made["type"] == "object":
        made.setdefault("additionalProperties", True)
    if made["type"] == "array":
        made.setdefault("items", {})
    if isinstance(properties := made.get("properties"), dict):
        made["properties"] = {name: _plain_schema(each) for name, each in properties.items()}
    for name in ("items", "additionalProperties"):
        if isinstance(made.get(name), dict):
            made[name] = _plain_schema(made[name])
    return made


def _plain_type(schema: dict[str, Any]) -> str:
    """Return the first type of a schema that is not null; a text where it says none."""
    kinds = schema.get("type")
    named = [kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(kind, str)]
    others = [each for name in ("anyOf", "oneOf", "allOf") for each in schema.get(name) or () if isinstance(each, dict)]
    found = [kind for kind in (*named, *map(_plain_type, others)) if kind != "null"]
    if not found and ("properties" in schema or "$ref" in schema):
        return "object"
    return found[0] if found else "array" if "items" in schema else "string"


def find(source: str, tokens: Iterable[str], render: Render) -> Dialect:
    """Return the dialect of a template whose text is `source`; `tokens` are its tokenizer's own."""
    text = call_text(source, tokens)
    ways = [Dialect(parts=parts, empty=empty, text=text) for empty in (False, True) for parts in (False, True)]
    found = next((way for way in ways if _shows(render, way, [ASKED], QUESTION)), ways[0])
    found = _tools(source, render, found)
    said = {"role": "system", "content": _SYSTEM}
    found = replace(found, system=_shows(render, found, [said, ASKED], _SYSTEM, QUESTION))
    if "developer" in source:
        knows = replace(found, developer=True)
        if _shows(render, knows, [{**said, "role": "developer"}, ASKED], _SYSTEM, QUESTION):
            found = knows
    return _calls(render, found)


def _shows(render: Render, dialect: Dialect, messages: Messages, *words: str, tools: Any = None) -> bool:
    text = _text(render, dialect, messages, tools)
    return all(word in text for word in words)


def _text(render: Render, dialect: Dialect, messages: Messages, tools: Any) -> str:
    """Return a probe as the template shows it, nothing where it does not."""
    given, variables = dialect.given(tools)
    try:
        return render(dialect.shaped(messages, tools), given, variables)
    except Exception:  # noqa: BLE001  whatever a template raises is its refusal
        return ""


def _tools(source: str, render: Render, dialect: Dialect) -> Dialect:
    """Return the dialect with the variable and the form in which the template shows tools, if it does at all."""
    chats = ([ASKED], [{"role": "system", "content": _SYSTEM}, ASKED])
    variables = ["tools", *sorted(set(re.findall(r"\b\w*(?:tools|functions)\b", source)) - {"tools"})]
    forms: tuple[Literal["tools", "functions", "text"], ...] = ("tools", "functions", "text")
    for variable, form in itertools.product(variables, forms):
        tried = replace(dialect, tools=variable, tools_form=form, shows_tools=True)
        if any(_shows(render, tried, chat, _NAME, _KEY, QUESTION, tools=[TOOL]) for chat in chats):
            return tried
    return dialect


def _calls(render: Render, dialect: Dialect) -> Dialect:
    """Return the dialect with how the template wants calls and their answers, as far as it shows them."""
    answered = {"role": "tool", "tool_call_id": "call_zq1", "content": _RESULT}
    for results in (True, False):
        chat: Messages = [ASKED, CALLED, answered] if results else [ASKED, CALLED]
        for tried in _ways(replace(dialect, calls=True, results=results)):
            text = _text(render, tried, chat, [TOOL])
            behind = text[text.find(QUESTION) :] if QUESTION in text else text
            odd = f'\\"{_KEY}' in behind or f"'{_KEY}'" in behind  # encoded twice, or Python's own writing
            if not odd and all(word in behind for word in (_NAME, VALUE, *([_RESULT] if results else []))):
                return tried
    shown = replace(dialect, results=True)
    return shown if _shows(render, shown, [ASKED, CALLED, answered], _RESULT, tools=[TOOL]) else dialect


def _ways(dialect: Dialect) -> Iterator[Dialect]:
    arguments: tuple[Literal["object", "string"], ...] = ("object", "string")
    bare: tuple[Literal["absent", "null", "empty"], ...] = ("absent", "null", "empty")
    for short, wanted, content in itertools.product((False, True), arguments, bare):
        yield replace(dialect, arguments=wanted, bare=content, short_ids=short)
