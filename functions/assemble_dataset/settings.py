"""How rows are put together."""

from __future__ import annotations

from pydantic import Field

from functions._shared.settings import GeneralSettings, WaitSettings


class DatasetSettings(GeneralSettings, WaitSettings):
    """What stands in a row beside its question."""

    row_variants: int = Field(default=2, ge=1, le=16)
    """Rows of each training example, each among other distractors; an epoch takes one of them."""
    hard_distractors: int = Field(default=2, ge=0, le=32)
    """Passages in a row that BM25, and a model of embeddings, find for its question and that do not answer it."""
    random_distractors: int = Field(default=1, ge=0, le=32)
    """Passages in a row from anywhere else."""
    context_tokens: int = Field(default=1024, ge=16)
    """The most that a row's passages may have in the target model's tokens."""
    shown_headings: int = Field(default=9, ge=0, le=9)
    """Headings above a passage that are shown with it, the nearest."""
    absent_share: float = Field(default=0.1, ge=0, le=0.5)
    """Share of rows whose passages do not hold the answer: the right one is that the context does not say."""
    general_share: float = Field(default=0.1, ge=0, le=0.9)
    """Share of a data set's training rows that are general ones."""
    min_coverage: float | None = Field(default=None, ge=0, le=1)
    """Share of the training chunks that need a row, or else there is no data set; unset, a half or a warning."""
