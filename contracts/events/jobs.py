"""Fine-tuning jobs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.blobs import BlobRef
from contracts.bounds import Code, Count, Hash, Id, Key, Name, Number, Phrase, Sentence, Switches
from contracts.events import Payload
from contracts.manifest import ManifestRef, RowShape
from contracts.tracking import RunKind, Tracker

Auto = Literal["auto"]
MOST_EPOCHS, MOST_ROWS, MOST_MULTIPLIER, MOST_CONTEXT = 50, 256, 1e100, 2**24
"""OpenAI's own limits of epochs and rows of a batch; a multiplier has none there, and a context its base's."""
SUFFIX = r"^([^\x00-\x20\x7f:/?#%\\][^\x00-\x1f\x7f:/?#%\\]*)?$"
"""It becomes a part of the model's name."""
PRINTABLE = r"^[^\x00-\x1f\x7f]*$"


class Hyperparameters(BaseModel):
    """What the user asked for; `auto` is decided in the plan."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    n_epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] | Auto = "auto"
    batch_size: Annotated[int, Field(ge=1, le=MOST_ROWS)] | Auto = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=MOST_MULTIPLIER)] | Auto = "auto"
    context_length: Annotated[int, Field(ge=1, le=MOST_CONTEXT)] | Auto = "auto"
    """Tokens that a row may have in training, at most as many as the base reads."""


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
    tags: tuple[Code, ...] = Field(default=(), max_length=50)


class Integration(BaseModel):
    """A service that is told of the job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["wandb"] = "wandb"
    wandb: Wandb


class JobAsked(Payload):
    """What somebody says of the model that they want."""

    model: str = Field(min_length=1, max_length=256, pattern=PRINTABLE)
    """Name of a base model."""
    training_file: str = Field(min_length=1, max_length=128, pattern=PRINTABLE)
    validation_file: str | None = Field(default=None, max_length=128, pattern=PRINTABLE)
    suffix: str | None = Field(default=None, max_length=64, pattern=SUFFIX)
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)
    """None: derived from the job's id."""
    hyperparameters: Hyperparameters = Hyperparameters()
    tuning: Tuning = Tuning()
    overlong: Literal["fail", "drop", "truncate"] = "fail"
    """What to do with rows longer than the context."""
    chat_template_kwargs: Switches | None = None
    """Variables of the base's chat template; None: those that ask for an answer as the rows have it."""
    metadata: dict[Code, Annotated[str, Field(max_length=512)]] = Field(default_factory=dict, max_length=16)
    benchmarks: Literal["default", "none"] = "default"
    """What is asked of the model and its base once the job has succeeded."""
    integrations: tuple[Integration, ...] = Field(default=(), max_length=1)


class JobCreated(JobAsked):
    """Somebody wants a model."""

    creator_id: Id | None = None
    """Of the API key with which it was asked for; None: it came from outside, or before keys were noted."""


class Histogram(BaseModel):
    """Token counts per row."""

    model_config = ConfigDict(frozen=True)

    edges: tuple[Count, ...] = Field(max_length=65)
    """n+1 bin edges in tokens."""
    counts: tuple[Count, ...] = Field(max_length=64)
    """n rows-per-bin."""


class Plan(BaseModel):
    """What will be done, fixed before training starts."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    base: ManifestRef
    base_name: Name
    train: BlobRef
    """Tokens file of the training rows."""
    valid: BlobRef | None = None
    probe: BlobRef
    """JSON of one rendered training prompt (messages, tools, token ids), asked again of the served model."""
    template_sha256: Hash
    context: Count
    """Tokens that the base reads, and with it the tuned model."""
    context_length: Count | None = None
    """Tokens that a row may have; None: `context`."""
    chat_template_kwargs: Switches = Field(default_factory=dict)
    """Variables of the chat template with which the tuned model is asked, unless a request says others."""
    row_shape: RowShape = "chat"
    """Of the training rows: how /v1/completions asks the tuned model."""
    rows: Count
    examples: Count | None = None
    """What is trained on: a row is several where the template shows a chat's earlier turns differently than its last.

    None: one of each row.
    """
    valid_rows: Count = 0
    dropped_rows: Count = 0
    """Rows left out because `overlong` is `drop`."""
    truncated_rows: Count = 0
    rows_per_epoch: Count | None = None
    """Examples that an epoch takes: one of those that are variants of each other; None where that is all of them."""
    tokens: Count
    """Tokens of all training rows, once."""
    label_tokens: Count
    longest_row: Count
    histogram: Histogram
    n_epochs: Count
    batch_size: Count
    learning_rate_multiplier: Number
    learning_rate: Number
    total_steps: Count
    warmup_steps: Count
    checkpoint_every: Count
    """Steps between checkpoints, besides every epoch's end."""
    seed: Count
    tuning: Tuning
    reasons: dict[Code, Phrase] = Field(max_length=32)
    """Why each `auto` value is what it is."""
    memory_bytes: Count
    """Estimate of the peak."""
    seconds: Number
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

    from_step: Count = 0
    total_steps: Count
    holder: Name
    """Who holds the lease."""
    device: Code = ""


class StepMetrics(BaseModel):
    """Metrics after one optimiser step."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    step: Count
    train_loss: Number
    train_mean_token_accuracy: Number
    learning_rate: Number | None = None
    grad_norm: Number | None = None
    tokens: Count | None = None
    valid_loss: Number | None = None
    valid_mean_token_accuracy: Number | None = None
    full_valid_loss: Number | None = None
    full_valid_mean_token_accuracy: Number | None = None
    elapsed: Number | None = None
    """Seconds of training so far, its attempts added up; null in steps of earlier versions."""


class JobProgressed(Payload):
    """Up to 500 steps were made."""

    total_steps: Count
    steps: tuple[StepMetrics, ...] = Field(min_length=1, max_length=500)


class JobCheckpointed(Payload):
    """A checkpoint is stored and hashed; training can go on from it."""

    step: Count
    epoch_end: bool = False
    manifest: ManifestRef
    metrics: StepMetrics


class JobPaused(Payload):
    """The job rests and holds no device."""

    step: Count


class JobDelayed(Payload):
    """The job waits for something."""

    code: Code
    message: Sentence


class JobSucceeded(Payload):
    """The tuned model answers in the serving process, on the same token ids as in training."""

    fine_tuned_model: Name
    manifest: ManifestRef
    result_files: tuple[Id, ...] = Field(max_length=8)
    trained_tokens: Count
    step: Count
    prompt_sha256: Hash
    """Hash of the probe prompt's token ids as serving rendered them."""


class JobFailed(Payload):
    """The job cannot succeed."""

    code: Code
    message: Sentence
    param: Code | None = None


class JobCancelled(Payload):
    """Somebody ended the job."""

    reason: Sentence = ""


class JobDeleted(Payload):
    """An ended job's bytes are gone, its models' too, and its id stays dead."""

    reason: Literal["requested"] = "requested"


class RunTracked(Payload):
    """The job is found in a tracker."""

    kind: RunKind
    tracker: Tracker
    run_id: Name
    url: Key
