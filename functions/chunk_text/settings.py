"""How documents are cut."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from functions._shared.settings import TargetSettings


class ChunkSettings(TargetSettings):
    """Sizes of chunks, in the target model's tokens."""

    chunk_tokens: int = Field(default=256, ge=16)
    """Longest chunk of a document."""
    chunk_overlap: int = Field(default=32, ge=0)
    """Tokens that a chunk repeats of the one before it."""

    @field_validator("chunk_overlap")
    @classmethod
    def overlap_leaves_room(cls, value: int, info: ValidationInfo) -> int:
        """A chunk has to say something that the one before it does not."""
        size: int = info.data.get("chunk_tokens", value + 1)  # missing where it is itself not valid
        if value >= size:
            raise ValueError(f"a chunk of {size} tokens (TEMPER_CHUNK_TOKENS) cannot repeat {value}")
        return value
