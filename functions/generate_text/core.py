"""What one request may have of a model: its context, its share of the engine, its vocabulary. Pure."""

from collections.abc import Sequence

from contracts.wire.errors import ApiError, shown


def max_new_tokens(prompt: int, wanted: int | None, context: int, param: str) -> int:
    """Tokens that an answer may have; ApiError in OpenAI's words when prompt and answer exceed the context."""
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
    raise ApiError(
        f"This model's maximum context length is {context} tokens. However, {asked}. "
        f"Please reduce the length of the {part}{'' if wanted is None else ' or completion'}.",
        param=param,
        code="context_length_exceeded",
    )


def check_size(prompts: int, choices: int, room: int, most_choices: int, most_tokens: int, param: str) -> None:
    """ApiError when one request asks for more than its share: `prompts` tokens and `choices` of up to `room`."""
    tokens = prompts + choices * room
    if choices <= most_choices and tokens <= most_tokens:
        return
    raise ApiError(
        f"One request may have {most_choices} choices and {most_tokens} tokens, but this asks for {choices} choices "
        f"and {tokens} tokens: {prompts} in prompts and {room} in each choice. Lower 'n' or 'max_tokens', or split it.",
        param=param,
        code="request_too_large",
    )


def check_token_ids(ids: Sequence[int], vocabulary: int, param: str) -> None:
    """ApiError when a token id is outside the model's vocabulary."""
    for token in ids:
        if not 0 <= token < vocabulary:
            raise ApiError(
                f"Invalid '{param}': token {shown(token)} is not in the model's vocabulary of {vocabulary} tokens.",
                param=param,
                code="invalid_value",
            )
