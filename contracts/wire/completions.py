"""What may be asked of a model, over chat or plain text; OpenAI's parameters and bounds."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from annotated_types import MaxLen
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    PlainValidator,
    model_validator,
)
from typing_extensions import TypedDict

from contracts.bounds import Switches
from contracts.events.completions import Metadata
from contracts.manifest import ManifestRef
from contracts.wire.chat import MAX_DEPTH, modern, plain, too_deep
from contracts.wire.errors import refuse, shown
from contracts.wire.formats import (
    ResponseFormat,
    ToolChoice,
    check_choice,
    check_mentions_json,
    read_choice,
    read_format,
)
from contracts.wire.request import OTHERS, Request

MAX_CHOICES = 128
MAX_STOPS = 4
MAX_PROMPTS = 1024
MAX_BIASED = 1024
"""Tokens with a bias: every step adds them to every choice's logits."""
_LONGEST_ID = 10
_HALF = re.compile("[\ud800-\udfff]")
Prompt = str | tuple[int, ...]
"""Text, or token ids."""


def names(text: str) -> frozenset[str]:
    """Return the names in a text of words."""
    return frozenset(text.split())


def _old_choice(given: Any) -> ToolChoice:
    match given:
        case "none" | "auto":
            return ToolChoice(given)
        case {"name": str(name)}:
            return ToolChoice("required", (name,), named=True)
    raise refuse("invalid_value", "Invalid value for '{param}': expected 'none', 'auto' or a function by name.")


def _only(served: Sequence[Any], why: str) -> AfterValidator:
    def check(value: Any) -> Any:
        if value not in served:
            raise refuse("unsupported", why)
        return value

    return AfterValidator(check)


# --- messages


def _arguments(text: str) -> str:
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict) or too_deep(arguments):
        what = f"expected a JSON object in a string, nested at most {MAX_DEPTH} deep"
        raise refuse("invalid_value", f"Invalid '{{param}}': {what}.")
    return text


def _shallow(value: Any) -> Any:
    if too_deep(list(value) if isinstance(value, tuple) else value):
        what = f"objects and arrays are nested deeper than {MAX_DEPTH}"
        raise refuse("invalid_value", f"Invalid '{{param}}': {what}.")
    return value


def _joined(content: Any) -> Any:
    """Return parts of text as one text."""
    text = "".join(map(_part, content)) if isinstance(content, list) else content
    if isinstance(text, str) and _HALF.search(text):
        raise refuse("invalid_value", "Invalid '{param}': it holds half of a surrogate pair, which is no text.")
    return text


def _part(part: Any) -> str:
    match part:
        case {"type": "text", "text": str(text)} | {"type": "refusal", "refusal": str(text)}:
            return text
        case _:
            raise refuse("unsupported", "Invalid '{param}': only parts of type 'text' are served.")


class _Function(TypedDict):
    arguments: Annotated[str, AfterValidator(_arguments)]


class _Call(TypedDict):
    function: _Function


class Message(BaseModel):
    """One message; what is not checked here is left to the model's template."""

    model_config = ConfigDict(strict=True, frozen=True)

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[str | None, BeforeValidator(_joined)] = None
    tool_calls: Annotated[list[_Call], FailFast(), BeforeValidator(_shallow)] = Field(default_factory=list)
    given: dict[str, Any]
    """All of it in today's form, in the order in which it came."""

    @model_validator(mode="before")
    @classmethod
    def _kept(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        given = modern(given)
        said = {name: value for name, value in given.items() if value is not None}
        if "content" not in said and given.get("role") == "assistant" and "refusal" in said:
            said["content"] = said["refusal"]
        return {"role": None, **said, "given": given}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise refuse("invalid_type", "Invalid value for '{param}': expected a string, got null.", "content")
        return self


class Conversation(Request):
    """Messages and tools."""

    messages: Annotated[tuple[Message, ...], FailFast()] = Field(min_length=1)
    tools: Annotated[tuple[dict[str, Any], ...], FailFast(), BeforeValidator(_shallow)] = ()
    chat_template_kwargs: Switches = Field(default_factory=dict)
    """Variables of the model's chat template, beside or instead of those that it was trained with; as at vLLM."""

    def chat(self) -> list[dict[str, Any]]:
        """Return the messages as templates know them."""
        return plain([{**each.given, "content": each.content} for each in self.messages])

    def known_tools(self) -> list[dict[str, Any]] | None:
        """Return the tools, whose keys stand in the order in which they came; None where there are none."""
        return list(self.tools) or None


class ProofRequest(Conversation):
    """POST /prove: a stored model is to read the same token ids as in training."""

    manifest: ManifestRef
    expected_ids: Annotated[tuple[int, ...], FailFast()]


# --- sampling


def _stops(stop: Any) -> Any:
    stops = (stop,) if isinstance(stop, str) else stop
    if isinstance(stops, tuple) and "" in stops:
        raise refuse("invalid_value", "Invalid '{param}': a stop sequence is empty.")
    return stops


def _bias(bias: Any) -> dict[int, float]:
    if not isinstance(bias, dict):
        raise refuse("invalid_type", "Invalid type for '{param}': expected an object.")
    for key, value in bias.items():
        if not (key.isascii() and key.isdigit() and len(key) < _LONGEST_ID):
            what = "You should only be submitting token ids as keys"
            raise refuse("invalid_value", f"Invalid key in '{{param}}': {shown(key)}. {what}.")
        if type(value) not in (int, float):
            raise refuse("invalid_type", f"Invalid type for '{{param}}': expected decimals, but got {shown(value)}.")
        if not -100 <= value <= 100:
            side = "above_max" if value > 100 else "below_min"
            what = f"expected values from -100 to 100, but got {shown(value)}"
            raise refuse(f"decimal_{side}_value", f"Invalid '{{param}}': {what}.")
    return {int(key): float(value) for key, value in bias.items()}


class StreamOptions(Request):
    """How a stream ends."""

    ignored = frozenset({"include_obfuscation"})
    tolerant = True

    include_usage: bool = False


class Sampled(Request):
    """What chat and text completions share."""

    tolerant = True

    model: str = Field(min_length=1, max_length=512)
    n: int = Field(default=1, ge=1, le=MAX_CHOICES)
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, ge=0, le=1)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    stop: Annotated[tuple[str, ...], BeforeValidator(_stops), MaxLen(MAX_STOPS)] = ()
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    logit_bias: Annotated[dict[int, float], PlainValidator(_bias), MaxLen(MAX_BIASED)] = Field(default_factory=dict)
    stream: bool = False
    stream_options: StreamOptions | None = None

    @property
    def include_usage(self) -> bool:
        """Whether the last event of a stream says how many tokens there were."""
        return self.stream_options is not None and self.stream_options.include_usage

    @model_validator(mode="after")
    def _streamed(self) -> Self:
        if self.stream_options is not None and not self.stream:
            what = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
            raise refuse("invalid_value", what, "stream_options")
        return self


class Chat(Conversation, Sampled):
    """POST /chat/completions."""

    ignored = names(
        "user safety_identifier service_tier prompt_cache_key prompt_cache_options prompt_cache_retention prediction"
    )
    refused = OTHERS | names("audio moderation reasoning_effort verbosity web_search_options")
    tolerant = True

    max_tokens: int | None = Field(default=None, ge=1, le=2**53)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=2**53)
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    tool_choice: Annotated[ToolChoice, PlainValidator(read_choice)] = ToolChoice()
    parallel_tool_calls: bool = True
    store: Any = None
    """The edge's, as are metadata."""
    metadata: Any = None
    functions: Annotated[tuple[dict[str, Any], ...], FailFast(), BeforeValidator(_shallow)] = ()
    """OpenAI's old name of tools."""
    function_call: Annotated[ToolChoice | None, PlainValidator(_old_choice)] = None
    response_format: Annotated[ResponseFormat | None, PlainValidator(read_format)] = None
    modalities: Annotated[Any, _only((("text",),), "Only the modality 'text' is served.")] = None

    @property
    def room(self) -> int | None:
        """Tokens that an answer may have, by both caps; None: what the context leaves."""
        caps = [cap for cap in (self.max_tokens, self.max_completion_tokens) if cap is not None]
        return min(caps, default=None)

    @property
    def most_calls(self) -> int | None:
        """How many calls of tools an answer may have; None: any number."""
        return None if self.parallel_tool_calls and not self.is_old else 1

    @property
    def is_old(self) -> bool:
        """Whether calls are answered in OpenAI's old form, `function_call`."""
        return bool(self.functions)

    @property
    def choice(self) -> ToolChoice:
        """Which functions may be called."""
        return (self.function_call or ToolChoice()) if self.functions else self.tool_choice

    @property
    def alternatives(self) -> int | None:
        """With how many others each token is told; None: no log-probabilities."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @model_validator(mode="after")
    def _told(self) -> Self:
        if self.top_logprobs is not None and not self.logprobs:
            what = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."
            raise refuse("invalid_value", what, "top_logprobs")
        return self

    @model_validator(mode="after")
    def _held(self) -> Self:
        if self.functions and self.tools:
            raise refuse("invalid_value", "'functions' is the old name of 'tools': send one of them.", "functions")
        if self.function_call is not None and not self.functions:
            what = "'function_call' is only allowed when 'functions' are specified."
            raise refuse("invalid_value", what, "function_call")
        check_choice(self.choice, self._all_tools())
        if self.response_format is not None and self.response_format.type == "json_object":
            check_mentions_json([{"content": each.content} for each in self.messages])
        return self

    def _all_tools(self) -> list[dict[str, Any]]:
        return [{"type": "function", "function": each} for each in self.functions] or list(self.tools)

    def known_tools(self) -> list[dict[str, Any]] | None:
        """Return the tools that the model is shown."""
        return None if self.choice.mode == "none" else self._all_tools() or None


def _is_tokens(item: Any) -> bool:
    return isinstance(item, list | tuple) and bool(item) and all(type(token) is int for token in item)


def _prompts(prompt: Any) -> tuple[Prompt, ...]:
    items = (prompt,) if isinstance(prompt, str) or _is_tokens(prompt) else prompt
    if not isinstance(items, tuple) or not 1 <= len(items) <= MAX_PROMPTS:
        raise refuse("invalid_value", f"Invalid '{{param}}': expected 1 to {MAX_PROMPTS} prompts.")
    if not all(isinstance(item, str) or _is_tokens(item) for item in items):
        what = "expected a string, an array of strings, or an array of token ids"
        raise refuse("invalid_type", f"Invalid type for '{{param}}': {what}.")
    return tuple(item if isinstance(item, str) else tuple(item) for item in items)


class Completion(Sampled):
    """POST /completions."""

    ignored = frozenset({"user"})
    refused = OTHERS | {"suffix"}

    prompt: Annotated[tuple[Prompt, ...], PlainValidator(_prompts)]
    max_tokens: int = Field(default=16, ge=0, le=2**53)
    echo: bool = False
    best_of: int | None = None
    logprobs: int | None = Field(default=None, ge=0, le=5)

    @property
    def alternatives(self) -> int | None:
        """With how many others each token is told; None: no log-probabilities."""
        return self.logprobs

    @model_validator(mode="after")
    def _best(self) -> Self:
        if self.best_of not in (None, self.n):
            raise refuse("unsupported", "best_of other than n is not served.", "best_of")
        return self


class Routed(Request):
    """What the edge reads of a request that it passes on."""

    model: str = Field(min_length=1, max_length=512)


class RoutedChat(Routed):
    """What the edge reads of a chat."""

    store: bool = False
    metadata: Any = None
    """Checked where the chat is kept; without `store` nobody looks at it."""


class KeptChat(Request):
    """What is said of a chat that is kept: POST /chat/completions/{id}, and POST /chat/completions with `store`."""

    tolerant = True

    metadata: Metadata = Field(default_factory=dict)
