"""What is held out of training, and how much is asked."""

from __future__ import annotations

from pydantic import Field

from contracts.function import FunctionSettings


class PlanSettings(FunctionSettings):
    """The shares of an archive."""

    held_out: float = Field(default=0.1, ge=0, le=0.9)
    """Share of an archive's documents or sections that training never sees."""
    rows_per_chunk: int = Field(default=3, ge=1, le=50)
    """Questions asked of a chunk of usual length."""
    embedding_model: str = Field(default="", max_length=256)
    """The model of embeddings by which chunks that say the same in other words are found and distractors ranked, where
    a request names none; empty: none."""
    duplicate_similarity: float = Field(default=0.9, ge=0.5, le=1)
    """Cosine of two chunks' vectors from which on one of them is enough, where both have the same numbers."""
