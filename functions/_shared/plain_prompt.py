"""A prompt without a chat template: what a model is trained on and asked with, for preparation, proof and serving."""

from __future__ import annotations

from typing import Any


def prompt_ids(tokenizer: Any, text: str) -> list[int]:
    """Return a text's token ids with what the tokenizer puts around it; of an empty one, what a text begins with.

    That is the token that begins a text, else the one that ends it; none where a tokenizer has neither.
    """
    ids: list[int] = tokenizer(text, add_special_tokens=True)["input_ids"]
    begin = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    return ids or [token for token in begin if token is not None][:1]
