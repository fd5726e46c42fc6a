"""What a request to generate may say: OpenAI's parameters, checked one by one, and the errors in OpenAI's words."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.wire.chat import MAX_DEPTH, plain, too_deep

MAX_STOPS = 4
MAX_CHOICES = 128
MAX_PROMPTS = 1024
MAX_BIASED = 1024
"""Tokens with a bias: every step adds them to every choice's logits."""
_LONGEST_ID, _LONGEST_SHOWN = 10, 40
_MISSING = object()
_KINDS: dict[type, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    str: "a string",
    list: "an array",
    dict: "an object",
}


class RequestError(Exception):
    """A request that cannot be served as it is: HTTP status, OpenAI code, parameter and a sentence."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400, type_: str = ""
    ) -> None:
        super().__init__(message)
        self.param, self.code, self.status = param, code, status
        self.type = type_ or ("invalid_request_error" if status < 500 else "server_error")

    def body(self) -> dict[str, Any]:
        """OpenAI's error object, all four keys."""
        return {"error": {"message": str(self), "type": self.type, "param": self.param, "code": self.code}}


@dataclass(frozen=True)
class Options:
    """The parameters that chat and text completions share."""

    model: str
    n: int = 1
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    """None: no logprobs; otherwise the number of alternatives."""
    stream: bool = False
    include_usage: bool = False


@dataclass(frozen=True)
class ChatRequest:
    """A checked body of POST /v1/chat/completions."""

    options: Options
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None


@dataclass(frozen=True)
class CompletionRequest:
    """A checked body of POST /v1/completions; each prompt is text or token ids."""

    options: Options
    prompts: tuple[str | tuple[int, ...], ...]
    echo: bool


def read_chat(body: object) -> ChatRequest:
    """Check a chat request; RequestError names the first thing wrong."""
    data = _object(body)
    options = _options(data, _chat_logprobs(data), least_tokens=1)
    _refuse(data, "functions", "functions are deprecated by OpenAI and not served; use tools")
    _check_response_format(data.get("response_format"))
    if data.get("modalities") not in (None, ["text"]):
        raise RequestError("Only the modality 'text' is served.", param="modalities", code="unsupported")
    tools = read_tools(data.get("tools"))
    if data.get("tool_choice") not in (None, "none", "auto"):
        raise RequestError(
            "A call cannot be forced: only the choices 'auto' and 'none' are served.",
            param="tool_choice",
            code="unsupported",
        )
    if data.get("tool_choice") == "none":
        tools = None
    return ChatRequest(options, read_messages(data.get("messages", _MISSING)), tools)


def read_completion(body: object) -> CompletionRequest:
    """Check a text completion request; RequestError names the first thing wrong."""
    data = _object(body)
    logprobs = _integer(data, "logprobs", None, 0, 5)
    options = _options(data, logprobs, least_tokens=0)
    _refuse(data, "suffix", "inserting text before a suffix is not served")
    if data.get("best_of") not in (None, options.n):
        raise RequestError("best_of other than n is not served.", param="best_of", code="unsupported")
    if options.max_tokens is None:
        options = Options(**{**options.__dict__, "max_tokens": 16})
    return CompletionRequest(options, _prompts(data.get("prompt", _MISSING)), _boolean(data, "echo"))


def read_tools(tools: object) -> list[dict[str, Any]] | None:
    """Check a chat's tools, whose keys stay in the order in which they came; None for an empty list."""
    if tools is not None and not (isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)):
        raise _type_error("tools", "an array of objects", tools)
    if too_deep(tools):
        raise _depth_error("tools")
    return tools or None


def read_messages(messages: object) -> list[dict[str, Any]]:
    """Check a chat's messages and return them as templates know them, leaving everything else to the template."""
    if messages is _MISSING or messages is None:
        raise RequestError(
            "Missing required parameter: 'messages'.", param="messages", code="missing_required_parameter"
        )
    if not isinstance(messages, list):
        raise _type_error("messages", "an array of objects", messages)
    if not messages:
        raise RequestError(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param="messages",
            code="empty_array",
        )
    return plain([_message(message, f"messages[{index}]") for index, message in enumerate(messages)])


def _message(message: object, where: str) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise _type_error(where, "an object", message)
    roles = ("system", "developer", "user", "assistant", "tool", "function")
    role = message.get("role")
    if role not in roles:
        expected = ", ".join(f"'{r}'" for r in roles)
        raise RequestError(
            f"Invalid value: {_shown(role)}. Supported values are: {expected}.",
            param=f"{where}.role",
            code="invalid_value",
        )
    content = message.get("content")
    if isinstance(content, list):
        message = {**message, "content": _joined(content, f"{where}.content")}
    elif content is None:
        if role != "assistant" or not (message.get("tool_calls") or message.get("function_call")):
            raise RequestError(
                f"Invalid value for '{where}.content': expected a string, got null.",
                param=f"{where}.content",
                code="invalid_type",
            )
    elif not isinstance(content, str):
        raise _type_error(f"{where}.content", "a string or an array of parts", content)
    elif not _encodable(content):
        raise RequestError(
            f"Invalid '{where}.content': it holds a lone surrogate, which is no text.",
            param=f"{where}.content",
            code="invalid_value",
        )
    _check_calls(message.get("tool_calls"), f"{where}.tool_calls")
    return dict(message)


def _check_calls(calls: object, where: str) -> None:
    if calls is not None and not isinstance(calls, list):
        raise _type_error(where, "an array of calls", calls)
    if too_deep(calls):
        raise _depth_error(where)
    for index, call in enumerate(calls or []):
        try:
            arguments = json.loads(call["function"]["arguments"])
        except (TypeError, KeyError, ValueError, RecursionError):
            arguments = None
        if not isinstance(arguments, dict) or too_deep(arguments):
            param = f"{where}[{index}].function.arguments"
            raise RequestError(
                f"Invalid '{param}': expected a JSON object in a string, nested at most {MAX_DEPTH} deep.",
                param=param,
                code="invalid_value",
            )


def _joined(parts: list[object], where: str) -> str:
    texts = []
    for part in parts:
        if not (isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)):
            raise RequestError(
                f"Invalid '{where}': only parts of type 'text' are served.", param=where, code="unsupported"
            )
        if not _encodable(part["text"]):
            raise RequestError(f"Invalid '{where}': it holds a lone surrogate.", param=where, code="invalid_value")
        texts.append(part["text"])
    return "".join(texts)


def max_new_tokens(prompt: int, wanted: int | None, context: int, param: str) -> int:
    """Tokens that an answer may have; RequestError in OpenAI's words when prompt and answer exceed the context."""
    part = "messages" if param == "messages" else "prompt"
    if wanted is None and prompt < context:
        return context - prompt
    if wanted is not None and prompt + wanted <= context:
        return wanted
    asked = (
        f"your {part} resulted in {prompt} tokens"
        if wanted is None
        else f"you requested {prompt + wanted} tokens ({prompt} in the {part}, {wanted} in the completion)"
    )
    raise RequestError(
        f"This model's maximum context length is {context} tokens. However, {asked}. "
        f"Please reduce the length of the {part}{'' if wanted is None else ' or completion'}.",
        param=param,
        code="context_length_exceeded",
    )


def check_size(prompts: int, choices: int, room: int, most_choices: int, most_tokens: int, param: str) -> None:
    """RequestError when one request asks for more than its share: `prompts` tokens and `choices` of up to `room`."""
    tokens = prompts + choices * room
    if choices <= most_choices and tokens <= most_tokens:
        return
    raise RequestError(
        f"One request may have {most_choices} choices and {most_tokens} tokens, but this asks for {choices} choices "
        f"and {tokens} tokens: {prompts} in prompts and {room} in each choice. Lower 'n' or 'max_tokens', or split it.",
        param=param,
        code="request_too_large",
    )


def check_token_ids(ids: Sequence[int], vocabulary: int, param: str) -> None:
    """RequestError when a token id is outside the model's vocabulary."""
    for token in ids:
        if not 0 <= token < vocabulary:
            raise RequestError(
                f"Invalid '{param}': token {_shown(token)} is not in the model's vocabulary of {vocabulary} tokens.",
                param=param,
                code="invalid_value",
            )


def _object(body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise RequestError("The body must be a JSON object.", code="invalid_type")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise RequestError("you must provide a model parameter", param="model", code="missing_required_parameter")
    return body


def _options(data: dict[str, Any], logprobs: int | None, least_tokens: int) -> Options:
    name = "max_completion_tokens" if data.get("max_completion_tokens") is not None else "max_tokens"
    stream = _boolean(data, "stream")
    usage = data.get("stream_options")
    if usage is not None and not stream:
        raise RequestError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
            code="invalid_value",
        )
    if usage is not None and not isinstance(usage, dict):
        raise _type_error("stream_options", "an object", usage)
    return Options(
        model=data["model"],
        n=_integer(data, "n", 1, 1, MAX_CHOICES) or 1,
        max_tokens=_integer(data, name, None, least_tokens, 2**53),
        temperature=_decimal(data, "temperature", 1.0, 0.0, 2.0),
        top_p=_decimal(data, "top_p", 1.0, 0.0, 1.0),
        seed=_integer(data, "seed", None, -(2**63), 2**63 - 1),
        stop=_stops(data.get("stop")),
        presence_penalty=_decimal(data, "presence_penalty", 0.0, -2.0, 2.0),
        frequency_penalty=_decimal(data, "frequency_penalty", 0.0, -2.0, 2.0),
        logit_bias=_bias(data.get("logit_bias")),
        logprobs=logprobs,
        stream=stream,
        include_usage=_boolean(usage or {}, "include_usage"),
    )


def _chat_logprobs(data: dict[str, Any]) -> int | None:
    top = _integer(data, "top_logprobs", None, 0, 20)
    wanted = _boolean(data, "logprobs")
    if top is not None and not wanted:
        raise RequestError(
            "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
            param="top_logprobs",
            code="invalid_value",
        )
    return (top or 0) if wanted else None


def _check_response_format(wanted: object) -> None:
    if wanted is None or (isinstance(wanted, dict) and wanted.get("type") == "text"):
        return
    raise RequestError(
        "Only response_format {'type': 'text'} is served for now; ask for JSON in the prompt and parse the answer.",
        param="response_format",
        code="unsupported",
    )


def _refuse(data: dict[str, Any], name: str, why: str) -> None:
    if data.get(name) is not None:
        raise RequestError(f"Unsupported parameter: {why}.", param=name, code="unsupported")


def _stops(stop: object) -> tuple[str, ...]:
    if stop is None:
        return ()
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(s, str) for s in stops):
        raise _type_error("stop", "a string or an array of strings", stop)
    if len(stops) > MAX_STOPS:
        raise RequestError(
            f"Invalid 'stop': array too long. Expected an array with maximum length {MAX_STOPS}, "
            f"but got an array with length {len(stops)} instead.",
            param="stop",
            code="array_above_max_length",
        )
    if not all(stops):
        raise RequestError("Invalid 'stop': a stop sequence is empty.", param="stop", code="invalid_value")
    return tuple(stops)


def _bias(bias: object) -> dict[int, float]:
    if bias is None:
        return {}
    if not isinstance(bias, dict):
        raise _type_error("logit_bias", "an object", bias)
    if len(bias) > MAX_BIASED:
        raise RequestError(
            f"Invalid 'logit_bias': it names {len(bias)} tokens, but at most {MAX_BIASED} can be biased.",
            param="logit_bias",
            code="invalid_value",
        )
    read: dict[int, float] = {}
    for key, value in bias.items():
        if not (key.isascii() and key.isdigit() and len(key) < _LONGEST_ID):
            raise RequestError(
                f"Invalid key in 'logit_bias': {_shown(key)}. You should only be submitting token ids as keys.",
                param="logit_bias",
                code="invalid_value",
            )
        read[int(key)] = _number("logit_bias", value, -100.0, 100.0)
    return read


def _prompts(prompt: object) -> tuple[str | tuple[int, ...], ...]:
    if prompt is _MISSING or prompt is None:
        raise RequestError("Missing required parameter: 'prompt'.", param="prompt", code="missing_required_parameter")
    items = prompt if isinstance(prompt, list) and not _is_tokens(prompt) else [prompt]
    if not 1 <= len(items) <= MAX_PROMPTS:
        raise RequestError(
            f"Invalid 'prompt': expected 1 to {MAX_PROMPTS} prompts, got {len(items)}.",
            param="prompt",
            code="invalid_value",
        )
    read: list[str | tuple[int, ...]] = []
    for item in items:
        if isinstance(item, str) and _encodable(item):
            read.append(item)
        elif _is_tokens(item):
            read.append(tuple(item))  # type: ignore[arg-type]
        else:
            raise _type_error("prompt", "a string, an array of strings, or an array of token ids", item)
    return tuple(read)


def _is_tokens(item: object) -> bool:
    return isinstance(item, list) and bool(item) and all(type(token) is int for token in item)


def _boolean(data: Mapping[str, Any], name: str) -> bool:
    value = data.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise _type_error(name, "a boolean", value)


def _integer(data: dict[str, Any], name: str, default: int | None, low: int, high: int) -> int | None:
    value = data.get(name)
    if value is None:
        return default
    if type(value) is not int:
        raise _type_error(name, "an integer", value)
    _check_range(name, "integer", value, low, high)
    return value


def _decimal(data: dict[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = data.get(name)
    return default if value is None else _number(name, value, low, high)


def _number(name: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # not a number is not itself
        raise _type_error(name, "a decimal", value)
    _check_range(name, "decimal", value, low, high)
    return float(value)


def _check_range(name: str, kind: str, value: float, low: float, high: float) -> None:
    if value < low:
        bound, sign, code = low, ">=", "below_min_value"
    elif value > high:
        bound, sign, code = high, "<=", "above_max_value"
    else:
        return
    raise RequestError(
        f"Invalid '{name}': {kind} {code.replace('_', ' ').replace('min', 'minimum').replace('max', 'maximum')}. "
        f"Expected a value {sign} {bound:g}, but got {_shown(value)} instead.",
        param=name,
        code=f"{kind}_{code}",
    )


def _type_error(name: str, expected: str, value: object) -> RequestError:
    got = "null" if value is None or value is _MISSING else _KINDS.get(type(value), "something else")
    return RequestError(
        f"Invalid type for '{name}': expected {expected}, but got {got} instead.", param=name, code="invalid_type"
    )


def _depth_error(name: str) -> RequestError:
    return RequestError(
        f"Invalid '{name}': objects and arrays are nested deeper than {MAX_DEPTH}.", param=name, code="invalid_value"
    )


def _shown(value: object) -> str:
    """A short text for an error message, whatever came."""
    if isinstance(value, dict | list):
        return _KINDS[type(value)]
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
