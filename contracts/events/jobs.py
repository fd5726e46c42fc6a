"""Fine-tuning jobs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.blobs import BlobRef
from contracts.events import Payload
from contracts.manifest import ManifestRef
from contracts.tracking import RunKind, Tracker

Auto = Literal["auto"]


class Hyperparameters(BaseModel):
    """What the user asked for; `auto` is decided in the plan."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    n_epochs: int | Auto = Field(default="auto")
    batch_size: int | Auto = Field(default="auto")
    learning_rate_multiplier: float | Auto = Field(default="auto")


class Tuning(BaseModel):
    """Which weights are trained."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["lora", "full"] = "lora"
    r: int = Field(default=16, ge=1, le=512)
    alpha: int = Field(default=32, ge=1, le=1024)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class Wandb(BaseModel):
    """Where Weights & Biases is to show the job; whose key opens it is never in an event."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: str = Field(min_length=1, max_length=128)
    entity: str | None = Field(default=None, max_length=128)
    name: str | None = Field(default=None, max_length=128)
    tags: tuple[str, ...] = Field(default=(), max_length=50)


class Integration(BaseModel):
    """A service that is told of the job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["wandb"] = "wandb"
    wandb: Wandb


class JobCreated(Payload):
    """Somebody wants a model."""

    model: str = Field(min_length=1, max_length=256)
    """Name of a base model."""
    training_file: str = Field(min_length=1, max_length=128)
    validation_file: str | None = Field(default=None, max_length=128)
    suffix: str | None = Field(default=None, max_length=64)
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)
    """None: derived from the job's id."""
    hyperparameters: Hyperparameters = Hyperparameters()
    tuning: Tuning = Tuning()
    overlong: Literal["fail", "drop", "truncate"] = "fail"
    """What to do with rows longer than the context."""
    metadata: dict[str, str] = Field(default_factory=dict, max_length=16)
    benchmarks: Literal["default", "none"] = "default"
    """What is asked of the model and its base once the job has succeeded."""
    integrations: tuple[Integration, ...] = Field(default=(), max_length=1)


class Histogram(BaseModel):
    """Token counts per row."""

    model_config = ConfigDict(frozen=True)

    edges: tuple[int, ...]
    """n+1 bin edges in tokens."""
    counts: tuple[int, ...]
    """n rows-per-bin."""


class Plan(BaseModel):
    """What will be done, fixed before training starts."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    base: ManifestRef
    base_name: str
    train: BlobRef
    """Tokens file of the training rows."""
    valid: BlobRef | None = None
    probe: BlobRef
    """JSON of one rendered training prompt (messages, tools, token ids), asked again of the served model."""
    template_sha256: str
    context: int
    rows: int
    valid_rows: int = 0
    dropped_rows: int = 0
    """Rows left out because `overlong` is `drop`."""
    truncated_rows: int = 0
    rows_per_epoch: int | None = None
    """Rows that an epoch takes: one of those that are variants of each other; None where that is all of them."""
    tokens: int
    """Tokens of all training rows, once."""
    label_tokens: int
    longest_row: int
    histogram: Histogram
    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    learning_rate: float
    total_steps: int
    warmup_steps: int
    checkpoint_every: int
    """Steps between checkpoints, besides every epoch's end."""
    seed: int
    tuning: Tuning
    reasons: dict[str, str]
    """Why each `auto` value is what it is."""
    memory_bytes: int
    """Estimate of the peak."""
    seconds: float
    """Estimate from the first step to the last."""


class JobQueued(Payload):
    """The files are valid and the plan is fixed."""

    plan: Plan


class JobPauseRequested(Payload):
    """Somebody wants the job to rest; the epoch is the one this opens."""


class JobResumeRequested(Payload):
    """Somebody wants the job to go on; the epoch is the one this opens."""


class JobCancelRequested(Payload):
    """Somebody wants the job to end."""


class JobStarted(Payload):
    """A claimed trainer is about to start the child."""

    from_step: int = 0
    total_steps: int
    holder: str
    """Who holds the lease."""
    device: str = ""


class StepMetrics(BaseModel):
    """Metrics after one optimiser step."""

    model_config = ConfigDict(frozen=True, extra="ignore")

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
    """Seconds of training so far, its attempts added up; null in steps of earlier versions."""


class JobProgressed(Payload):
    """Up to 500 steps were made."""

    total_steps: int
    steps: tuple[StepMetrics, ...] = Field(min_length=1, max_length=500)


class JobCheckpointed(Payload):
    """A checkpoint is stored and hashed; training can go on from it."""

    step: int
    epoch_end: bool = False
    manifest: ManifestRef
    metrics: StepMetrics


class JobPaused(Payload):
    """The job rests and holds no device."""

    step: int


class JobDelayed(Payload):
    """The job waits for something."""

    code: str
    message: str


class JobSucceeded(Payload):
    """The tuned model answers in the serving process, on the same token ids as in training."""

    fine_tuned_model: str
    manifest: ManifestRef
    result_files: tuple[str, ...]
    trained_tokens: int
    step: int
    prompt_sha256: str
    """Hash of the probe prompt's token ids as serving rendered them."""


class JobFailed(Payload):
    """The job cannot succeed."""

    code: str
    message: str
    param: str | None = None


class JobCancelled(Payload):
    """Somebody ended the job."""

    reason: str = ""


class RunTracked(Payload):
    """The job is found in a tracker."""

    kind: RunKind
    tracker: Tracker
    run_id: str
    url: str
