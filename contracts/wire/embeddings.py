"""What may be asked of a model of embeddings; OpenAI's parameters and bounds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from contracts.wire.completions import Prompt
from contracts.wire.errors import refuse
from contracts.wire.request import Request

MAX_INPUTS = 2048
MAX_BYTES = 4 * 2**20
"""Of a request: as many tokens as it may have, as texts or as ids."""
MAX_TOKENS = 300_000
"""Of all inputs of a request together."""


def _is_tokens(item: Any) -> bool:
    return isinstance(item, list | tuple) and bool(item) and all(type(token) is int for token in item)


def _inputs(given: Any) -> tuple[Prompt, ...]:
    items = (given,) if isinstance(given, str) or _is_tokens(given) else given
    if not isinstance(items, list | tuple):
        raise refuse("invalid_type", "Invalid type for '{param}': expected a string or an array.")
    if not 1 <= len(items) <= MAX_INPUTS:
        side = "empty_array" if not items else "array_above_max_length"
        what = f"expected 1 to {MAX_INPUTS} inputs, but got {len(items)}"
        raise refuse(side, f"Invalid '{{param}}': {what}.")
    for place, item in enumerate(items):
        where = "{param}" if items is not given else f"{{param}}[{place}]"
        if item in ("", [], ()):
            raise refuse("invalid_value", f"Invalid '{where}': an input cannot be empty.")
        if not (isinstance(item, str) or _is_tokens(item)):
            what = "expected a string, an array of strings, an array of token ids, or an array of those"
            raise refuse("invalid_type", f"Invalid type for '{where}': {what}.")
    return tuple(item if isinstance(item, str) else tuple(item) for item in items)


class Embeddings(Request):
    """POST /embeddings."""

    ignored = frozenset({"user"})
    tolerant = True

    model: str = Field(min_length=1, max_length=512)
    input: Annotated[tuple[Prompt, ...], PlainValidator(_inputs)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)
    prompt_name: str | None = Field(default=None, max_length=64)
    """Of the model's own prompts, the one that stands before each text, as sentence-transformers calls them."""
    truncate: Literal["NONE", "END"] = "NONE"
    """END: of a text longer than the model's context the end is cut off, and `temper.truncated` of the answer says of
    which; Cohere's and NVIDIA's name. Token ids are never cut."""
