"""Data sets as they are answered: their rows, where each comes from, how far they are, and their reports.

As in `contracts.wire.answers`: times are epoch seconds, scores and shares in 0..1.
"""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

from contracts.controls import Reason
from contracts.corpus import Finder, RowOrigin, Split
from contracts.events.corpus import DatasetAsked, Generator, Score


class PageSpan(TypedDict):
    """Characters [start, end) of a page's text; pages are counted from 1."""

    page: int
    start: int
    end: int


RowKind = Literal["answered", "absent", "general"]
"""absent: the right answer is a refusal; general: no document is behind it."""
RowRole = RowKind | Literal["distractor"]


class RowSource(TypedDict):
    """Where a row comes from; span and quote are null where the context rightly does not say the answer."""

    document: str
    path: str
    sha256: str
    chunk: str
    page: int | None
    span: PageSpan | None
    quote: str | None


class DatasetRow(TypedDict):
    """A row of a data set with its way back to a page; `source` is null for a general row."""

    id: str
    object: Literal["dataset.row"]
    line: int
    split: Split
    kind: RowKind
    messages: list[dict[str, Any]]
    example: str
    variant: int
    source: RowSource | None
    position: int | None
    distractors: list[str]
    generator: Generator | None
    scores: dict[str, float]


class RowMention(TypedDict):
    """A row that shows a chunk, and as what."""

    id: str
    line: int
    split: Split
    role: RowRole
    example: str
    variant: int
    span: PageSpan | None


class LineageChunk(TypedDict):
    """A chunk of a document and the rows that show it."""

    id: str
    index: int
    heading: str
    tokens: int
    spans: list[PageSpan]
    rows: list[RowMention]


class LineageModel(TypedDict):
    """A model that a job made."""

    id: str
    deleted: bool


class LineageJob(TypedDict):
    """A job on a data set, and what it made."""

    id: str
    object: Literal["fine_tuning.job"]
    status: str
    model: str
    used_as: Literal["training_file", "validation_file"]
    fine_tuned_model: str | None
    models: list[LineageModel]


class SeenBy(LineageModel):
    """A model that was trained on what is deleted."""

    job: str
    used_as: Literal["training_file", "validation_file"]


class RejectedDocument(Reason):
    """Why nothing is made of a document."""

    page: int | None


class Lineage(TypedDict):
    """What became of a document, or of one of its pages: chunks, rows, jobs, models."""

    id: str
    object: Literal["lineage"]
    document: str
    path: str
    sha256: str | None
    page: int | None
    chunks: list[LineageChunk]
    jobs: list[LineageJob]
    rejected: RejectedDocument | None


class LeftOut(TypedDict):
    """A member that was skipped, or a document that was rejected, and why."""

    path: str | None
    code: str | None
    message: str | None
    page: int | None


class DocumentCounts(TypedDict):
    """How many documents have come how far; the total is null until the archive is unpacked."""

    total: int | None
    extracted: int
    rejected: int
    chunked: int


Stage = Literal[
    "unpacking", "reading documents", "planning", "making rows", "assembling", "ready", "failed", "stored"
]  # fmt: skip


class DatasetProgress(TypedDict):
    """How far documents are on their way to a data set."""

    object: Literal["dataset"]
    stage: Stage
    source: str | None
    min_score: dict[Score, float]
    max_score: dict[Score, float]
    documents: DocumentCounts
    left_out: list[LeftOut]
    rows_made: int
    rows: int | None
    held_out_rows: int | None
    generator: Generator | None
    version: str | None
    asked: DatasetAsked
    coverage: float | None
    warnings: list[str]


class CoverageShare(TypedDict):
    """Chunks that rows were asked of, those that have one, and the share."""

    covered: int
    chunks: int
    share: float


class CoverageExtent(CoverageShare):
    """The same, with the rows."""

    rows: int


class PageCoverage(CoverageExtent):
    """Coverage of one page."""

    page: int


class ChunkRows(TypedDict):
    """Rows of one chunk: asked for, and made."""

    chunk: str
    split: Split
    pages: list[int]
    asked: int
    rows: int


class DocumentCoverage(CoverageExtent):
    """Coverage of one document, of its pages and chunks."""

    document: str
    path: str
    sha256: str
    by_page: list[PageCoverage]
    by_chunk: list[ChunkRows]


class SplitCounts(TypedDict):
    """Rows of a split, by kind, and how they vary."""

    rows: int
    answered: int
    absent: int
    general: int
    by_variant: dict[str, int]
    by_position: dict[str, int]
    by_passages: dict[str, int]


class ExampleCounts(TypedDict):
    """Questions of a split that were kept, and reason → those that were dropped."""

    kept: int
    dropped: dict[str, int]


class LanguageCounts(TypedDict):
    """Chunks in a language that rules were to ask about, and those that have a row."""

    chunks: int
    covered: int


class TriedGenerator(Reason):
    """Whoever was to write questions, and of how many documents this is said."""

    generator: Generator
    model: str
    asked: int
    kept: int
    share: float | None
    threshold: float | None
    failed: dict[str, int]
    documents: int


class BinCounts(TypedDict):
    """n + 1 edges of bins, and n counts."""

    edges: list[int]
    counts: list[int]


class TokenCounts(TypedDict):
    """How long rows' contexts are, in tokens of the target model."""

    least: int
    median: float
    most: int
    histogram: BinCounts


class EmbeddingUsed(TypedDict):
    """The model of embeddings by which near duplicates and distractors were found."""

    model: str
    manifest: str
    dimensions: int
    duplicate_similarity: float
    cut_chunks: int
    cut_questions: int


class DatasetFindings(TypedDict):
    """What is known of a data set before its rows are written."""

    generator: Generator
    warnings: list[str]
    generators: dict[Generator, int]
    tried: list[TriedGenerator]
    languages: dict[str, LanguageCounts]
    settings: dict[str, Any]
    splits: dict[Split, SplitCounts]
    examples: dict[Split, ExampleCounts]
    coverage: dict[Split, CoverageShare]
    duplicate_chunks: int
    duplicates: dict[Finder, int]
    distractors: Literal["bm25", "bm25+embedding"]
    embedding: EmbeddingUsed | None
    rejected_documents: list[str]
    documents: list[DocumentCoverage]
    context_tokens: TokenCounts


class SampleRow(TypedDict):
    """A row as a person wants to see it."""

    messages: list[dict[str, Any]]
    origin: RowOrigin


class LeftOutMember(Reason):
    """A member that was skipped, or a document that was rejected."""

    path: str


class DatasetReport(DatasetFindings):
    """What a data set is made of: coverage, what was lost and why, lengths, samples."""

    version: str
    skipped: list[LeftOutMember]
    rejected: list[LeftOutMember]
    samples: list[SampleRow]


class PreviewExample(TypedDict):
    """What is trained of a row: spans [begin, end) of the text's characters, the end of the turn included."""

    text: str
    trained: list[tuple[int, int]]
    tokens: int


class RowPreview(TypedDict):
    """What a model would be trained on of a row, or why it is refused."""

    object: Literal["row.preview"]
    row: int
    model: str
    refused: Reason | None
    examples: list[PreviewExample]
