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
from contracts.events.benchmarks import Suite, TaskScore
from contracts.events.corpus import Generator
from contracts.events.files import RowError
from contracts.events.jobs import Histogram, RunTracked, Tuning
from contracts.events.notifications import Told
from contracts.storage import Kind
from contracts.wire.dataset_answers import DatasetProgress, SeenBy

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
