"""POST /v1/responses: what may be asked, the chat that it is for our own models, and the object that is answered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from annotated_types import MaxLen
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from contracts.bounds import Switches
from contracts.events.completions import Metadata
from contracts.wire.completions import names
from contracts.wire.errors import ApiError, refuse, shown
from contracts.wire.request import OTHERS, Query, Request
from contracts.wire.requests import PageQuery

MAX_TOOLS = 512
Includable = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]
"""What is said of built-in tools and images is never there; a thought stands in its item itself, and is not sealed."""
_LOGPROBS = "message.output_text.logprobs"
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class ResponseQuery(Query):
    """GET /responses/{id}: nothing of it is left out, so that there is nothing more to include."""

    include: str | None = None
    include_obfuscation: bool = False
    stream: bool = False
    starting_after: int | None = Field(default=None, ge=0, le=2**53)
    """The number of the event behind which a stream goes on."""


class ResponseItemPage(PageQuery):
    """GET /responses/{id}/input_items."""

    include: str | None = None


def _of_type(*served: str) -> BeforeValidator:
    known = ", ".join(f"'{each}'" for each in served)

    def check(given: Any) -> Any:
        kind = given.get("type") if isinstance(given, dict) else None
        if kind is not None and kind not in served:
            raise refuse("unsupported", f"Invalid '{{param}}': type {shown(kind)} is not served. Served is {known}.")
        return given

    return BeforeValidator(check)


class FunctionTool(BaseModel):
    """A function of the caller's own; a tool of any other type is refused by its name."""

    model_config = ConfigDict(strict=True, frozen=True)

    type: Literal["function"]
    name: str = Field(min_length=1, max_length=128)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def of_chat(self) -> dict[str, Any]:
        """Return it as chats have it."""
        said = {"name": self.name, "description": self.description, "parameters": self.parameters}
        strict = {"strict": True} if self.strict else {}
        return {"type": "function", "function": {**{k: v for k, v in said.items() if v is not None}, **strict}}


Format = Annotated[dict[str, Any], _of_type("text", "json_object", "json_schema")]


class TextRequest(Request):
    """The form of the answer's text."""

    format: Format | None = None
    verbosity: Literal["low", "medium", "high"] | None = None

    @model_validator(mode="after")
    def _served(self) -> Self:
        if self.verbosity not in (None, "medium"):
            raise refuse("unsupported", "Only the verbosity 'medium' is served. Ask for length in words.", "verbosity")
        return self

    def of_chat(self) -> dict[str, Any] | None:
        """Return chats' `response_format`; None: plain text."""
        kind = (self.format or {"type": "text"}).get("type")
        if self.format is None or kind == "text":
            return None
        inner = {name: value for name, value in self.format.items() if name != "type" and value is not None}
        return {"type": kind, **({kind: inner} if kind == "json_schema" else {})}


class ReasoningRequest(Request):
    """Whether and how long a model thinks, where its template knows such a thing."""

    tolerant = True
    ignored = frozenset({"context", "mode"})

    effort: ReasoningEffort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    """Nothing is summarised: what was thought is its own summary."""
    generate_summary: Literal["auto", "concise", "detailed"] | None = None

    def switches(self) -> dict[str, Any]:
        """Return the variables of the chat template that say so."""
        if self.effort is None:
            return {}
        return {"enable_thinking": False} if self.effort == "none" else {"reasoning_effort": self.effort}


def _choice(choice: Any) -> Any:
    match choice:
        case None | "none" | "auto" | "required":
            return choice
        case {"type": "function", "name": str()}:
            return choice
        case {"type": "allowed_tools", "mode": "auto" | "required", "tools": list() as tools} if all(
            isinstance(tool, dict) and tool.get("type") == "function" and isinstance(tool.get("name"), str)
            for tool in tools
        ):
            return choice
        case {"type": kind} if kind not in ("function", "allowed_tools"):
            raise refuse(
                "unsupported", f"Invalid '{{param}}': {shown(kind)} is not served: only functions can be called."
            )
    what = "expected 'none', 'auto', 'required', {'type': 'function', 'name': …} or 'allowed_tools' with functions"
    raise refuse("invalid_value", f"Invalid '{{param}}': {what}.")


def _not_cut(truncation: str) -> str:
    if truncation != "disabled":
        what = "Only the truncation 'disabled' is served: what does not fit is refused, and nothing is left out unseen."
        raise refuse("unsupported", what)
    return truncation


class ResponseRequest(Request):
    """POST /responses."""

    tolerant = True
    ignored = names(
        "access_programs image max_tool_calls prompt_cache_key prompt_cache_options prompt_cache_retention "
        "safety_identifier service_tier stream_options"
    )
    refused = OTHERS | names("context_management conversation moderation prompt")

    model: str = Field(min_length=1, max_length=512)
    input: Any = None
    instructions: str | None = None
    tools: Annotated[tuple[Annotated[FunctionTool, _of_type("function")], ...], MaxLen(MAX_TOOLS)] = ()
    tool_choice: Annotated[Any, AfterValidator(_choice)] = None
    parallel_tool_calls: bool = True
    max_output_tokens: int | None = Field(default=None, ge=1, le=2**53)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    include: tuple[Includable, ...] = Field(default=(), max_length=64)
    metadata: Metadata = Field(default_factory=dict)
    text: TextRequest = TextRequest()
    reasoning: ReasoningRequest = ReasoningRequest()
    truncation: Annotated[Literal["auto", "disabled"], AfterValidator(_not_cut)] = "disabled"
    background: bool = False
    previous_response_id: str | None = Field(default=None, max_length=128)
    store: bool = True
    stream: bool = False
    user: str | None = Field(default=None, max_length=512)
    chat_template_kwargs: Switches = Field(default_factory=dict)
    """Variables of the model's chat template, as in chats."""

    @model_validator(mode="after")
    def _retrieved_later(self) -> Self:
        if self.background and not self.store:
            what = "Invalid 'store': a response in the background has to be stored, to be retrieved. Delete it then."
            raise refuse("invalid_value", what, "store")
        return self

    def of_chat(self, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the chat completion that answers it."""
        first = [{"role": "system", "content": self.instructions}] if self.instructions else []
        chat: dict[str, Any] = {"model": self.model, "messages": [*first, *messages]}
        if self.tools:
            chat["tools"] = [tool.of_chat() for tool in self.tools]
        if self.tool_choice is not None:
            chat["tool_choice"] = _choice_of_chat(self.tool_choice)
        if not self.parallel_tool_calls:
            chat["parallel_tool_calls"] = False
        if _LOGPROBS in self.include or self.top_logprobs:
            chat |= {"logprobs": True, "top_logprobs": self.top_logprobs or 0}
        said = {
            "max_completion_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "response_format": self.text.of_chat(),
            "chat_template_kwargs": {**self.reasoning.switches(), **self.chat_template_kwargs} or None,
        }
        chat |= {name: value for name, value in said.items() if value is not None}
        return {**chat, "stream": True, "stream_options": {"include_usage": True}} if self.stream else chat

    def response(self, id: str, created: int) -> dict[str, Any]:
        """Return the Response before anything is answered."""
        return {
            "id": id,
            "object": "response",
            "created_at": created,
            "status": "queued" if self.background else "in_progress",
            "background": self.background,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "model": self.model,
            "output": [],
            "parallel_tool_calls": self.parallel_tool_calls,
            "previous_response_id": self.previous_response_id,
            "reasoning": {"effort": self.reasoning.effort, "summary": self.reasoning.summary},
            "store": self.store,
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "text": {"format": self.text.format or {"type": "text"}},
            "tool_choice": self.tool_choice or "auto",
            "tools": [tool.model_dump() for tool in self.tools],
            "top_logprobs": self.top_logprobs or 0,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "truncation": self.truncation,
            "usage": None,
            "user": self.user,
            "metadata": dict(self.metadata),
        }


def unanswered(response: Mapping[str, Any], view: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Response in the background that has no answer, or none yet, as it is by its read model."""
    shown = {"created_at": view["created_at"] // 1000, "status": view["status"], "error": view["error"]}
    return {**response, **shown}


def _choice_of_chat(choice: Any) -> Any:
    match choice:
        case {"type": "function", "name": name}:
            return {"type": "function", "function": {"name": name}}
        case {"type": "allowed_tools", "mode": mode, "tools": tools}:
            named = [{"type": "function", "function": {"name": tool["name"]}} for tool in tools]
            return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": named}}
    return choice


_PARAMS = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "response_format": "text.format",
    "logprobs": "top_logprobs",
}
_FORMAT = re.compile(r"(?<=')response_format(\.json_schema)?(?=['.])|(?<=\bfor )response_format(?= ')")
_TOOL = re.compile(r"\b(tools\[\d+\])\.function\b")


def _named(message: str) -> str:
    """Return a sentence on a chat in the names of a response's parameters."""
    return _TOOL.sub(r"\1", _FORMAT.sub("text.format", message))


def of_response(error: Mapping[str, Any], status: int, headers: Mapping[str, str]) -> ApiError:
    """Return an error of a chat in the names of a response's parameters."""
    param = error.get("param")
    message = _named(str(error.get("message") or "The model did not answer."))
    first = str(param or "").partition(".")[0].partition("[")[0]
    if isinstance(param, str) and first in _PARAMS:
        told = _PARAMS[first]
        if first == "response_format":
            told += param.removeprefix(first).replace(".json_schema", "", 1)
        message = message.replace(f"'{param}'", f"'{told}'")
        param = told
    elif isinstance(param, str):
        param = _TOOL.sub(r"\1", param)
    later = {name: value for name, value in headers.items() if name == "retry-after"}
    code, kind = error.get("code"), str(error.get("type") or "")
    return ApiError(message, status=status, param=param, code=code, type=kind, headers=later)
