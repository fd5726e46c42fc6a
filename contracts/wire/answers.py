"""What Temper answers where OpenAI has no such object, and what it says beside OpenAI's fields.

The functions that build answers return these, routes declare them, `contracts/openapi.json` describes them and
`temper/types.py` is made of that. Times are epoch seconds, scores and shares in 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Literal, NotRequired, TypeVar

from typing_extensions import TypedDict

from contracts.benchmarks import Side, Verdict
from contracts.controls import Reason
from contracts.corpus import Finder, RowOrigin, Split
from contracts.events.benchmarks import Suite, TaskScore
from contracts.events.corpus import DatasetAsked, Generator, Score
from contracts.events.files import RowError
from contracts.events.jobs import Histogram, RunTracked, Tuning
from contracts.events.notifications import Told
from contracts.storage import Kind

Item = TypeVar("Item", bound=Mapping[str, Any])


class Page(TypedDict, Generic[Item]):
    """One page of a list; it goes on with `after=<last_id>` while `has_more`."""

    object: Literal["list"]
    data: list[Item]
    has_more: bool
    first_id: str | None
    last_id: str | None


class Whole(TypedDict, Generic[Item]):
    """A list without pages."""

    object: Literal["list"]
    data: list[Item]


class Deleted(TypedDict):
    """What is gone."""

    id: str
    object: str
    deleted: Literal[True]


# --- data sets


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


# --- jobs, models, benchmarks


class JobPlan(TypedDict):
    """What a job will do, fixed before it starts: `seconds` and `memory_bytes` are estimates of time and peak."""

    base_name: str
    rows: int
    examples: int | None
    valid_rows: int
    dropped_rows: int
    truncated_rows: int
    tokens: int
    label_tokens: int
    longest_row: int
    histogram: Histogram
    context: int
    total_steps: int
    learning_rate: float
    warmup_steps: int
    reasons: dict[str, str]
    memory_bytes: int
    seconds: float


class JobDetails(TypedDict):
    """What OpenAI does not know of a job."""

    creator_id: str | None
    delay: Reason | None
    warnings: list[str]
    pausing: bool
    tuning: Tuning
    overlong: Literal["fail", "drop", "truncate"]
    chat_template_kwargs: dict[str, bool | int | float | str] | None
    attempts: int
    tracked: list[RunTracked]
    plan: JobPlan | None


class JobMetrics(TypedDict):
    """What was measured at one step; losses are in nats, `elapsed` is seconds of training so far."""

    id: str
    object: Literal["fine_tuning.job.metrics"]
    created_at: int
    step: int
    train_loss: float
    train_mean_token_accuracy: float
    learning_rate: NotRequired[float]
    grad_norm: NotRequired[float]
    tokens: NotRequired[int]
    valid_loss: NotRequired[float]
    valid_mean_token_accuracy: NotRequired[float]
    full_valid_loss: NotRequired[float]
    full_valid_mean_token_accuracy: NotRequired[float]
    elapsed: NotRequired[float]


class StepResult(TypedDict):
    """A line of a job's results; `valid_loss` and `perplexity` (e to its power) stand at an epoch's end only."""

    epoch: int
    iteration: int
    train_loss: float
    trained_tokens: int | None
    valid_loss: float | None
    perplexity: float | None
    hyperparameters: dict[str, int]
    time_since_job_start: float | None


class JobDeleted(TypedDict):
    """A job that is gone, with the names of the models and result files that went with it."""

    id: str
    object: Literal["fine_tuning.job"]
    deleted: Literal[True]
    models: list[str]
    files: list[str]


class BenchmarkProgress(TypedDict):
    """Answers so far, and those wanted; null until the questions are fixed."""

    answered: int
    total: int | None


class Benchmark(TypedDict):
    """How good a model is beside its base: what is asked, how far it is, what was found."""

    id: str
    object: Literal["benchmark"]
    created_at: int
    created_at_iso: str
    finished_at: int | None
    status: Literal["queued", "running", "completed", "failed", "cancelled"]
    delay: Reason | None
    fine_tuning_job_id: str | None
    file: str | None
    generalization_file: str | None
    forgetting_file: str | None
    rescores: str | None
    models: dict[Side, str]
    suite: Suite
    progress: BenchmarkProgress
    verdict: Verdict | None
    sentence: str | None
    scores: list[TaskScore]
    report_url: str | None
    result_url: str | None
    items_url: str | None
    error: Reason | None


class ModelFile(TypedDict):
    """One file of a model's folder."""

    object: Literal["model.file"]
    name: str
    bytes: int
    sha256: str


class StoredKind(TypedDict):
    """What is stored of one kind."""

    kind: Kind
    bytes: int
    objects: int


class StorageUsage(TypedDict):
    """What is stored for the caller, by kind and together."""

    object: Literal["usage.storage"]
    bytes: int
    objects: int
    data: list[StoredKind]


class Notification(TypedDict):
    """Who is told of a job's end, and whether they were."""

    id: str
    object: Literal["notification"]
    created_at: int
    finished_at: int | None
    status: Literal["queued", "delivered", "failed"]
    event_type: Told
    fine_tuning_job_id: str
    channel: Literal["email", "webhook"]
    to: str
    error: Reason | None
    delay: Reason | None


# --- health


class Alive(TypedDict):
    """This process answers."""

    status: Literal["ok"]


class Check(TypedDict):
    """How one part is."""

    ok: bool
    message: str


class Readiness(TypedDict):
    """Whether this process can serve, and what it lacks."""

    status: Literal["ready", "unready"]
    checks: dict[str, Check]


class Status(TypedDict):
    """How all of Temper is, and why."""

    status: Literal["ok", "degraded", "unready"]
    reasons: list[str]
    checks: dict[str, Check]


# --- LLMHub's own paths, whose times are ISO 8601


class JobError(Reason):
    """Why a job failed."""

    param: str | None


class LegacyJob(TypedDict):
    """A job as LLMHub shows it; null stands for what Temper does not know."""

    id: str
    object: Literal["fine-tune"]
    created_at: str
    finished_at: str | None
    estimated_finish: str | None
    status: Literal["queued", "running", "paused", "succeeded", "failed", "stopped"]
    model: str
    fine_tuned_model: str | None
    organization_id: str
    training_file: str
    validation_file: str | None
    result_files: list[str]
    trained_tokens: int | None
    seed: int
    integrations: list[dict[str, Any]]
    error: JobError | None
    hyperparameters: dict[str, int | float | str | None]
    suffix: str | None
    validation_ratio: None
    message: str | None


Level = Literal["info", "warning", "error"]
Milestone = Literal["submitted", "start", "succeeded", "failed", "stopped"]


class LegacyJobEvent(TypedDict):
    """A line of a job's event list as LLMHub shows it."""

    id: str
    object: Literal["fine-tune.event"]
    created_at: str
    level: Level
    message: str
    type: Milestone | Literal["message", "metrics"]


class LegacyValidation(TypedDict):
    """Whether a file is still being checked."""

    file_id: str
    object: Literal["validation"]
    message: str


class LegacyVerdict(TypedDict):
    """What is wrong with a file's rows, in sentences."""

    id: str
    errors: list[str]
    object: Literal["file"]


# --- beside OpenAI's fields


class FileValidation(TypedDict):
    """What is known of a file's rows; counts are there once they are known."""

    object: Literal["validation"]
    is_checked: bool
    is_valid: bool
    message: str
    errors: dict[str, list[RowError]]
    is_generated_dataset: bool
    rows: NotRequired[int]
    format: NotRequired[Literal["jsonl", "json", "csv"]]
    encoding: NotRequired[str]
    shape: NotRequired[Literal["chat", "prompt_completion", "batch"]]
    has_tools: NotRequired[bool]
    version: NotRequired[str]
    generator: NotRequired[Generator]
    coverage: NotRequired[float | None]
    held_out_rows: NotRequired[int]
    warnings: NotRequired[list[str]]
    code: NotRequired[str]
    n_errors: NotRequired[int]


class FileBeside(TypedDict):
    """What a file says beside OpenAI's fields."""

    created_at_iso: str
    delay: Reason | None
    checksum: str
    validation: FileValidation
    dataset: NotRequired[DatasetProgress]


class FileDeletedBeside(TypedDict):
    """Who saw a file that is deleted."""

    models: list[SeenBy]
    recurated: list[str]


class JobBeside(TypedDict):
    """What a job says beside OpenAI's fields."""

    created_at_iso: str
    temper: JobDetails


class ModelDetails(TypedDict):
    """What kind of model it is; an embedding model has dimensions."""

    kind: Literal["base", "adapter", "full", "embedding"]
    dimensions: int | None


class ModelBeside(TypedDict):
    """What a model says beside OpenAI's fields: its base, its context in tokens, the job that made it."""

    root: str
    parent: str | None
    context: int
    job: str | None
    temper: ModelDetails


BESIDE = {"FileObject": FileBeside, "FileDeleted": FileDeletedBeside, "FineTuningJob": JobBeside, "Model": ModelBeside}
"""Object of OpenAI → what it says besides."""
