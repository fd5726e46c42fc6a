# Made by `python -m infra.docs`; do not edit.
# ruff: noqa
# fmt: off
"""Answers of Temper that OpenAI has not."""

from __future__ import annotations

from typing import Any, Literal

from openai import BaseModel
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob


class Reason(BaseModel):
    """Why something waits, failed or is refused: a word for machines and a sentence that says what to do."""

    code: str
    message: str


class Span(BaseModel):
    """Characters [start, end) of a page's text."""

    page: int
    start: int
    end: int


class RowOrigin(BaseModel):
    """Where a row of a data set comes from; one line beside each row."""

    line: int
    example: str
    document: str
    path: str
    sha256: str
    chunk: str
    quote: str
    span: Span | None
    distractors: list[str]
    position: int | None
    variant: int
    generator: Literal['extractive', 'endpoint', 'base'] | None
    index: int | None = None
    scores: dict[str, float] | None = None


class DatasetAsked(BaseModel):
    """How a data set is to be made, as far as its request said; what it left open is the server's setting."""

    target_model: str | None = None
    generator: Literal['endpoint', 'tenant_endpoint', 'server_endpoint', 'base', 'extractive'] | list[Literal['endpoint', 'tenant_endpoint', 'server_endpoint', 'base', 'extractive']] | None = None
    rows_per_chunk: int | None = None
    held_out: float | None = None
    chunk_tokens: int | None = None
    chunk_overlap: int | None = None
    row_variants: int | None = None
    distractors: int | None = None
    context_tokens: int | None = None
    shown_headings: int | None = None
    absent_share: float | None = None
    general_share: float | None = None
    min_coverage: float | None = None
    closed_book: bool | None = None
    embedding_model: str | None = None
    duplicate_similarity: float | None = None


class Estimate(BaseModel):
    """A mean with its 95 % interval; a share or score is in 0..1, a difference in -1..1."""

    value: float
    low: float
    high: float


class SideScore(BaseModel):
    """One side's mean over the items that could be scored."""

    n: int
    unscored: int = 0
    estimate: Estimate | None = None


class PageSpan(BaseModel):
    """Characters [start, end) of a page's text; pages are counted from 1."""

    page: int
    start: int
    end: int


class RowSource(BaseModel):
    """Where a row comes from; span and quote are null where the context rightly does not say the answer."""

    document: str
    path: str
    sha256: str
    chunk: str
    page: int | None
    span: PageSpan | None
    quote: str | None


class DatasetRow(BaseModel):
    """A row of a data set with its way back to a page; `source` is null for a general row."""

    id: str
    object: Literal['dataset.row']
    line: int
    split: Literal['train', 'held_out']
    kind: Literal['answered', 'absent', 'general']
    messages: list[dict[str, Any]]
    example: str
    variant: int
    source: RowSource | None
    position: int | None
    distractors: list[str]
    generator: Literal['extractive', 'endpoint', 'base'] | None
    scores: dict[str, float]


class RowMention(BaseModel):
    """A row that shows a chunk, and as what."""

    id: str
    line: int
    split: Literal['train', 'held_out']
    role: Literal['answered', 'absent', 'general'] | Literal['distractor']
    example: str
    variant: int
    span: PageSpan | None


class LineageChunk(BaseModel):
    """A chunk of a document and the rows that show it."""

    id: str
    index: int
    heading: str
    tokens: int
    spans: list[PageSpan]
    rows: list[RowMention]


class LineageModel(BaseModel):
    """A model that a job made."""

    id: str
    deleted: bool


class LineageJob(BaseModel):
    """A job on a data set, and what it made."""

    id: str
    object: Literal['fine_tuning.job']
    status: str
    model: str
    used_as: Literal['training_file', 'validation_file']
    fine_tuned_model: str | None
    models: list[LineageModel]


class SeenBy(BaseModel):
    """A model that was trained on what is deleted."""

    id: str
    deleted: bool
    job: str
    used_as: Literal['training_file', 'validation_file']


class RejectedDocument(BaseModel):
    """Why nothing is made of a document."""

    code: str
    message: str
    page: int | None


class Lineage(BaseModel):
    """What became of a document, or of one of its pages: chunks, rows, jobs, models."""

    id: str
    object: Literal['lineage']
    document: str
    path: str
    sha256: str | None
    page: int | None
    chunks: list[LineageChunk]
    jobs: list[LineageJob]
    rejected: RejectedDocument | None


class LeftOut(BaseModel):
    """A member that was skipped, or a document that was rejected, and why."""

    path: str | None
    code: str | None
    message: str | None
    page: int | None


class DocumentCounts(BaseModel):
    """How many documents have come how far; the total is null until the archive is unpacked."""

    total: int | None
    extracted: int
    rejected: int
    chunked: int


class DatasetProgress(BaseModel):
    """How far documents are on their way to a data set."""

    object: Literal['dataset']
    stage: Literal['unpacking', 'reading documents', 'planning', 'making rows', 'assembling', 'ready', 'failed', 'stored']
    source: str | None
    min_score: dict[str, float]
    max_score: dict[str, float]
    documents: DocumentCounts
    left_out: list[LeftOut]
    rows_made: int
    rows: int | None
    held_out_rows: int | None
    generator: Literal['extractive', 'endpoint', 'base'] | None
    version: str | None
    asked: DatasetAsked
    coverage: float | None
    warnings: list[str]


class CoverageShare(BaseModel):
    """Chunks that rows were asked of, those that have one, and the share."""

    covered: int
    chunks: int
    share: float


class PageCoverage(BaseModel):
    """Coverage of one page."""

    covered: int
    chunks: int
    share: float
    rows: int
    page: int


class ChunkRows(BaseModel):
    """Rows of one chunk: asked for, and made."""

    chunk: str
    split: Literal['train', 'held_out']
    pages: list[int]
    asked: int
    rows: int


class DocumentCoverage(BaseModel):
    """Coverage of one document, of its pages and chunks."""

    covered: int
    chunks: int
    share: float
    rows: int
    document: str
    path: str
    sha256: str
    by_page: list[PageCoverage]
    by_chunk: list[ChunkRows]


class SplitCounts(BaseModel):
    """Rows of a split, by kind, and how they vary."""

    rows: int
    answered: int
    absent: int
    general: int
    by_variant: dict[str, int]
    by_position: dict[str, int]
    by_passages: dict[str, int]


class ExampleCounts(BaseModel):
    """Questions of a split that were kept, and reason → those that were dropped."""

    kept: int
    dropped: dict[str, int]


class LanguageCounts(BaseModel):
    """Chunks in a language that rules were to ask about, and those that have a row."""

    chunks: int
    covered: int


class TriedGenerator(BaseModel):
    """Whoever was to write questions, and of how many documents this is said."""

    code: str
    message: str
    generator: Literal['extractive', 'endpoint', 'base']
    model: str
    asked: int
    kept: int
    share: float | None
    threshold: float | None
    failed: dict[str, int]
    documents: int


class BinCounts(BaseModel):
    """n + 1 edges of bins, and n counts."""

    edges: list[int]
    counts: list[int]


class TokenCounts(BaseModel):
    """How long rows' contexts are, in tokens of the target model."""

    least: int
    median: float
    most: int
    histogram: BinCounts


class EmbeddingUsed(BaseModel):
    """The model of embeddings by which near duplicates and distractors were found."""

    model: str
    manifest: str
    dimensions: int
    duplicate_similarity: float
    cut_chunks: int
    cut_questions: int


class SampleRow(BaseModel):
    """A row as a person wants to see it."""

    messages: list[dict[str, Any]]
    origin: RowOrigin


class LeftOutMember(BaseModel):
    """A member that was skipped, or a document that was rejected."""

    code: str
    message: str
    path: str


class DatasetReport(BaseModel):
    """What a data set is made of: coverage, what was lost and why, lengths, samples."""

    generator: Literal['extractive', 'endpoint', 'base']
    warnings: list[str]
    generators: dict[str, int]
    tried: list[TriedGenerator]
    languages: dict[str, LanguageCounts]
    settings: dict[str, Any]
    splits: dict[str, SplitCounts]
    examples: dict[str, ExampleCounts]
    coverage: dict[str, CoverageShare]
    duplicate_chunks: int
    duplicates: dict[str, int]
    distractors: Literal['bm25', 'bm25+embedding']
    embedding: EmbeddingUsed | None
    rejected_documents: list[str]
    documents: list[DocumentCoverage]
    context_tokens: TokenCounts
    version: str
    skipped: list[LeftOutMember]
    rejected: list[LeftOutMember]
    samples: list[SampleRow]


class PreviewExample(BaseModel):
    """What is trained of a row: spans [begin, end) of the text's characters, the end of the turn included."""

    text: str
    trained: list[list[int]]
    tokens: int


class RowPreview(BaseModel):
    """What a model would be trained on of a row, or why it is refused."""

    object: Literal['row.preview']
    row: int
    model: str
    refused: Reason | None
    examples: list[PreviewExample]


class Grid(BaseModel):
    """The needle in a haystack: every combination of these, each with controls."""

    lengths: list[int] = []
    chunks: list[int] = [2, 4, 8]
    positions: list[float] = [0.0, 0.5, 1.0]
    distractors: list[Literal['random', 'hard']] = ['random', 'hard']
    per_cell: int = 4


class Suite(BaseModel):
    """What is asked."""

    tasks: list[Literal['documents', 'trained', 'closed_book', 'needle']] = ['documents', 'trained']
    harness: list[str] = []
    items: int = 100
    grid: Grid
    seed: int = 0
    judge: str | None = None
    metric: Literal['judge', 'exact_match', 'f1', 'rouge_l'] | None = None


class TaskScore(BaseModel):
    """One task in short; the result has all of it."""

    name: str
    metric: str
    scorer: str
    n: int
    unscored: int = 0
    base: float | None = None
    tuned: float | None = None
    difference: list[float] | None = None


class RowError(BaseModel):
    """One thing that is wrong with one row."""

    line: int
    code: str
    message: str
    path: str = ''


class Histogram(BaseModel):
    """Token counts per row."""

    edges: list[int]
    counts: list[int]


class RunTracked(BaseModel):
    """The job is found in a tracker."""

    kind: Literal['training', 'benchmark']
    tracker: Literal['mlflow', 'wandb']
    run_id: str
    url: str


class Tuning(BaseModel):
    """Which weights are trained."""

    kind: Literal['lora', 'full'] = 'lora'
    r: int = 16
    alpha: int = 32
    dropout: float = 0.0


class BenchmarkItem(BaseModel):
    """One question with what was said and how it was scored; a line of items.jsonl."""

    id: str
    task: str
    question: str
    answer: str
    context: list[str] = []
    source: dict[str, str | int] | None = None
    by: dict[str, str | int] | None = None
    said: dict[str, str] | None = None
    scores: dict[str, dict[str, float | None]] | None = None
    reasons: dict[str, str] | None = None
    errors: dict[str, str] | None = None


class Deleted(BaseModel):
    """What is gone."""

    id: str
    object: str
    deleted: Literal[True]


class JobPlan(BaseModel):
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


class JobDetails(BaseModel):
    """What OpenAI does not know of a job."""

    creator_id: str | None
    delay: Reason | None
    warnings: list[str]
    pausing: bool
    tuning: Tuning
    overlong: Literal['fail', 'drop', 'truncate']
    chat_template_kwargs: dict[str, bool | int | float | str] | None
    attempts: int
    tracked: list[RunTracked]
    plan: JobPlan | None


class JobMetrics(BaseModel):
    """What was measured at one step; losses are in nats, `elapsed` is seconds of training so far."""

    id: str
    object: Literal['fine_tuning.job.metrics']
    created_at: int
    step: int
    train_loss: float
    train_mean_token_accuracy: float
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens: int | None = None
    valid_loss: float | None = None
    valid_mean_token_accuracy: float | None = None
    full_valid_loss: float | None = None
    full_valid_mean_token_accuracy: float | None = None
    elapsed: float | None = None


class StepResult(BaseModel):
    """A line of a job's results; `valid_loss` and `perplexity` (e to its power) stand at an epoch's end only."""

    epoch: int
    iteration: int
    train_loss: float
    trained_tokens: int | None
    valid_loss: float | None
    perplexity: float | None
    hyperparameters: dict[str, int]
    time_since_job_start: float | None


class JobDeleted(BaseModel):
    """A job that is gone, with the names of the models and result files that went with it."""

    id: str
    object: Literal['fine_tuning.job']
    deleted: Literal[True]
    models: list[str]
    files: list[str]


class BenchmarkProgress(BaseModel):
    """Answers so far, and those wanted; null until the questions are fixed."""

    answered: int
    total: int | None


class Benchmark(BaseModel):
    """How good a model is beside its base: what is asked, how far it is, what was found."""

    id: str
    object: Literal['benchmark']
    created_at: int
    created_at_iso: str
    finished_at: int | None
    status: Literal['queued', 'running', 'completed', 'failed', 'cancelled']
    delay: Reason | None
    fine_tuning_job_id: str | None
    file: str | None
    generalization_file: str | None
    forgetting_file: str | None
    rescores: str | None
    models: dict[str, str]
    suite: Suite
    progress: BenchmarkProgress
    verdict: Literal['better', 'worse', 'no_difference', 'unscored'] | None
    sentence: str | None
    scores: list[TaskScore]
    report_url: str | None
    result_url: str | None
    items_url: str | None
    error: Reason | None


class ModelFile(BaseModel):
    """One file of a model's folder."""

    object: Literal['model.file']
    name: str
    bytes: int
    sha256: str


class StoredKind(BaseModel):
    """What is stored of one kind."""

    kind: Literal['files', 'documents', 'data sets', 'job inputs', 'checkpoints', 'models', 'benchmarks', 'completions', 'ingest', 'other']
    bytes: int
    objects: int


class StorageUsage(BaseModel):
    """What is stored for the caller, by kind and together."""

    object: Literal['usage.storage']
    bytes: int
    objects: int
    data: list[StoredKind]


class Notification(BaseModel):
    """Who is told of a job's end, and whether they were."""

    id: str
    object: Literal['notification']
    created_at: int
    finished_at: int | None
    status: Literal['queued', 'delivered', 'failed']
    event_type: Literal['fine_tuning.job.succeeded', 'fine_tuning.job.failed', 'fine_tuning.job.cancelled']
    fine_tuning_job_id: str
    channel: Literal['email', 'webhook']
    to: str
    error: Reason | None
    delay: Reason | None


class Alive(BaseModel):
    """This process answers."""

    status: Literal['ok']


class Check(BaseModel):
    """How one part is."""

    ok: bool
    message: str


class Readiness(BaseModel):
    """Whether this process can serve, and what it lacks."""

    status: Literal['ready', 'unready']
    checks: dict[str, Check]


class Status(BaseModel):
    """How all of Temper is, and why."""

    status: Literal['ok', 'degraded', 'unready']
    reasons: list[str]
    checks: dict[str, Check]


class JobError(BaseModel):
    """Why a job failed."""

    code: str
    message: str
    param: str | None


class FileValidation(BaseModel):
    """What is known of a file's rows; counts are there once they are known."""

    object: Literal['validation']
    is_checked: bool
    is_valid: bool
    message: str
    errors: dict[str, list[RowError]]
    is_generated_dataset: bool
    rows: int | None = None
    format: Literal['jsonl', 'json', 'csv'] | None = None
    encoding: str | None = None
    shape: Literal['chat', 'prompt_completion', 'batch'] | None = None
    has_tools: bool | None = None
    version: str | None = None
    generator: Literal['extractive', 'endpoint', 'base'] | None = None
    coverage: float | None = None
    held_out_rows: int | None = None
    warnings: list[str] | None = None
    code: str | None = None
    n_errors: int | None = None


class ModelDetails(BaseModel):
    """What kind of model it is; an embedding model has dimensions."""

    kind: Literal['base', 'adapter', 'full', 'embedding']
    dimensions: int | None


class Difference(BaseModel):
    """Tuned minus base over the items scored on both sides."""

    n: int
    estimate: Estimate
    better: int
    worse: int
    p: float
    method: str


class Cell(BaseModel):
    """Part of a task: one place of a grid, a page, a chunk, a position."""

    by: dict[str, str | int]
    scores: dict[str, SideScore]


class TaskResult(BaseModel):
    """One task on both sides."""

    name: str
    kind: Literal['documents', 'generalization', 'trained', 'needle', 'no_context', 'absent', 'closed_book', 'forgetting', 'lm_eval']
    title: str
    metric: str
    scorer: str
    scores: dict[str, SideScore]
    difference: Difference | None = None
    other: dict[str, dict[str, SideScore]] | None = None
    cells: list[Cell] = []
    note: str = ''


class Loss(BaseModel):
    """A step of training, for the report's curves."""

    step: int
    train_loss: float
    valid_loss: float | None = None


class BenchmarkResult(BaseModel):
    """All that a benchmark found; result.json."""

    benchmark: str
    models: dict[str, str]
    created_at: str
    verdict: Literal['better', 'worse', 'no_difference', 'unscored']
    sentence: str
    config: dict[str, str | int | float | None]
    tasks: list[TaskResult]
    version: int = 1
    job: str | None = None
    losses: list[Loss] = []
    dataset: dict[str, str | int | float | None] | None = None


class File(FileObject):
    """What a file says beside OpenAI's fields."""

    purpose: Literal['assistants', 'assistants_output', 'batch', 'batch_output', 'fine-tune', 'fine-tune-results', 'vision', 'user_data', 'embedding', 'ingestion', 'evals']  # type: ignore[assignment]
    created_at_iso: str
    delay: Reason | None
    checksum: str
    validation: FileValidation
    dataset: DatasetProgress | None = None


class Job(FineTuningJob):
    """What a job says beside OpenAI's fields."""

    status: Literal['validating_files', 'queued', 'running', 'succeeded', 'failed', 'cancelled', 'paused']  # type: ignore[assignment]
    created_at_iso: str
    temper: JobDetails
