"""What an answer is held to: `response_format`, `tool_choice`, and strict functions, as requests say it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.wire.chat import MAX_DEPTH, too_deep
from contracts.wire.errors import ApiError, missing, refusal, refuse
from contracts.wire.schemas import Place, Schema, check_schema

MAX_TOOLS = 128
"""Functions of which a call is held to a form."""


class _JsonSchema(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    given: Any = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseFormat(BaseModel):
    """The form of an answer."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None

    @property
    def schema_of_answers(self) -> Schema | None:
        """The JSON schema of which an answer is; None: it is text."""
        if self.type == "text":
            return None
        return self.json_schema.given if self.json_schema else {"type": "object"}

    @property
    def place(self) -> Place:
        """Where the schema stands."""
        return Place(f"response_format '{self.json_schema.name}'" if self.json_schema else "", _AT)

    def check(self) -> None:
        """Refuse a schema that cannot be enforced; raises ApiError."""
        if self.type != "json_schema":
            if self.json_schema is not None:
                what = "'response_format.json_schema' is only allowed with the type 'json_schema'."
                raise ApiError(what, param="response_format.json_schema", code="invalid_value")
            return
        if self.json_schema is None:
            raise missing("response_format.json_schema")
        if self.json_schema.given is None:
            raise missing(_AT)
        if not isinstance(self.json_schema.given, dict):
            raise ApiError(f"Invalid type for '{_AT}': expected an object.", param=_AT, code="invalid_type")
        check_schema(self.json_schema.given, self.place, bool(self.json_schema.strict))


_AT = "response_format.json_schema.schema"


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which functions may be called, and whether one has to be."""

    mode: Literal["none", "auto", "required"] = "auto"
    names: tuple[str, ...] | None = None
    """Of which one may be called; None: any of the tools."""
    named: bool = False
    """Whether it is one function by name: OpenAI ends such an answer with `stop`."""


def read_choice(given: Any) -> ToolChoice:
    """Return what a `tool_choice` says; raises pydantic's error in our words."""
    match given:
        case "none" | "auto" | "required":
            return ToolChoice(given)
        case {"type": "function", "function": {"name": str(name)}}:
            return ToolChoice("required", (name,), named=True)
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required" as mode, "tools": list(tools)}}:
            names = tuple(_allowed(tool) for tool in tools)
            if names and len(names) <= MAX_TOOLS:
                return ToolChoice(mode, names)
            raise refuse("invalid_value", f"Invalid '{{param}}': it needs 1 to {MAX_TOOLS} allowed tools.")
        case {"type": "custom"}:
            raise refuse("unsupported", "Invalid '{param}': tools of type 'custom' are not served, only functions.")
    expected = "'none', 'auto', 'required', a function by name, or allowed tools"
    raise refuse("invalid_value", f"Invalid value for '{{param}}': expected {expected}.")


def _allowed(tool: Any) -> str:
    match tool:
        case {"type": "function", "function": {"name": str(name)}} | {"type": "function", "name": str(name)}:
            return name
    raise refuse("invalid_value", "Invalid '{param}': an allowed tool needs the type 'function' and a name.")


def read_format(given: Any) -> ResponseFormat | None:
    """Return a `response_format`; raises ApiError."""
    if given is None:
        return None
    if not isinstance(given, dict):
        raise refuse("invalid_type", "Invalid type for '{param}': expected an object.")
    if too_deep(given):
        what = f"Invalid '{{param}}': objects and arrays are nested deeper than {MAX_DEPTH}."
        raise refuse("invalid_value", what)
    try:
        made = ResponseFormat.model_validate(given)
    except ValidationError as error:
        told = refusal(error)
        param = f"response_format{'.' * bool(told.param)}{told.param or ''}"
        message = told.message.replace(f"'{told.param}'", f"'{param}'") if told.param else told.message
        raise ApiError(message, param=param, code=told.code) from None
    made.check()
    return made


def check_mentions_json(messages: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to make any JSON of a chat that does not ask for it: a model that was not told writes white space."""
    if not any("json" in str(message.get("content")).lower() for message in messages):
        what = "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
        raise ApiError(what, param="messages")


def functions_of(tools: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, Mapping[str, Any]]]:
    """Return what tools can be called: name → place among the tools, and the function."""
    found: dict[str, tuple[int, Mapping[str, Any]]] = {}
    for nth, tool in enumerate(tools):
        function = tool.get("function", tool)
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            found[function["name"]] = (nth, function)
    return found


def is_strict(function: Mapping[str, Any]) -> bool:
    """Whether the arguments of its calls are to be of its schema."""
    return function.get("strict") is True


def check_choice(choice: ToolChoice, tools: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a choice that the tools do not allow, and strict functions that cannot be held to; raises ApiError."""
    known = functions_of(tools)
    if not tools:
        if choice.mode == "required" or choice.names is not None:
            what = "'tool_choice' is only allowed when 'tools' are specified."
            raise ApiError(what, param="tool_choice", code="invalid_value")
        return
    for name in choice.names or ():
        if name not in known:
            what = f"Invalid value for 'tool_choice': no function named '{name[:64]}' stands in 'tools'."
            raise ApiError(what, param="tool_choice", code="invalid_value")
    forced = choice.mode == "required" or choice.names is not None
    if (forced or any(is_strict(function) for _, function in known.values())) and len(tools) > MAX_TOOLS:
        what = f"Invalid 'tools': calls can be held to a form for at most {MAX_TOOLS} tools, but got {len(tools)}."
        raise ApiError(what, param="tools", code="array_above_max_length")
    for name, (nth, function) in known.items():
        if choice.mode != "none" and is_strict(function):
            place = Place(f"function '{name[:64]}'", f"tools[{nth}].function.parameters")
            check_schema(parameters_of(function), place, strict=True)


def parameters_of(function: Mapping[str, Any]) -> Schema:
    """Return the schema of a function's arguments."""
    found = function.get("parameters")
    if isinstance(found, dict) and found:
        return found
    return {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
