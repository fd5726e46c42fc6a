"""What may be asked of the edge, besides completions; bounds are those of the events that follow."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from contracts.bounds import Share
from contracts.corpus import Split
from contracts.events import benchmarks, corpus, jobs, notifications
from contracts.events.corpus import Score, Writer
from contracts.wire.errors import ApiError, refuse
from contracts.wire.request import Query, Request

MOST_MODELS = 8

# --- lists


class PageQuery(Query):
    """Which part of a list is asked for."""

    limit: int = Field(default=20, ge=1, le=100)
    after: str | None = None
    order: Literal["asc", "desc"] = "desc"

    @property
    def direction(self) -> int:
        """The sort order as the stores take it."""
        return 1 if self.order == "asc" else -1

    @property
    def sort(self) -> tuple[tuple[str, int], ...]:
        """How most lists are sorted: by age, and by id where two are of one moment."""
        return (("created_at", self.direction), ("id", self.direction))


class FilePage(PageQuery):
    """GET /files."""

    limit: int = Field(default=10_000, ge=1, le=10_000)
    purpose: str | None = None


class ChatPage(PageQuery):
    """GET /chat/completions, which lists the oldest first, and the messages of one."""

    order: Literal["asc", "desc"] = "asc"
    model: str | None = None
    since: int | None = Field(default=None, ge=0, le=10**11)
    """Only those of this moment (seconds since 1970) and later."""


class MetricPage(PageQuery):
    """GET /fine_tuning/jobs/{id}/metrics: `after` is a step."""

    limit: int = Field(default=1000, ge=1, le=10_000)
    after: Annotated[str, Field(pattern="^[0-9]{1,12}$")] | None = None


class CheckpointPage(PageQuery):
    """GET /fine_tuning/jobs/{id}/checkpoints."""

    limit: int = Field(default=10, ge=1, le=100)


class RowPage(PageQuery):
    """GET /files/{id}/rows: in the order of the data set."""

    order: Literal["asc"] = "asc"
    split: Split | None = None


class PreviewQuery(Query):
    """GET /files/{id}/preview: a base or a tuned model, and a row by its place among the rows."""

    model: str
    row: int = Field(default=1, ge=1, le=10**9)


class LineagePage(PageQuery):
    """GET /lineage: what was made of a file's documents."""

    file: str
    page: int | None = Field(default=None, ge=1, le=10**9)
    document: str | None = None


class LegacyJobPage(PageQuery):
    """GET /finetune-jobs: too high a limit is lowered, and the oldest come first."""

    limit: Annotated[int, AfterValidator(lambda limit: min(limit, 10))] = Field(default=3, ge=1)
    order: Literal["asc", "desc"] = "asc"


class LegacyEventPage(LegacyJobPage):
    """GET /finetune-jobs/{id}/events."""

    limit: Annotated[int, AfterValidator(lambda limit: min(limit, 100))] = Field(default=10, ge=1)


# --- files


_OF_DATASET = re.compile(r"dataset\[(\w{1,64})\]")


def _literal(text: Any) -> Any:
    """Return what a part of a form says: a number, a truth value, an object, or else its text."""
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return text


FilePurpose = Literal["fine-tune", "batch", "evals", "embedding", "ingestion"]
"""The last two are stored for other tools: no job takes them."""


def served_purpose(purpose: Any) -> Any:
    """Refuse a purpose of OpenAI's that no file here has."""
    if purpose in ("assistants", "vision", "user_data"):
        raise refuse("unsupported", f"Files with purpose '{purpose}' are not supported yet.")
    return purpose


class DatasetRequest(corpus.DatasetAsked, Request):
    """How the data set of a file of documents is to be made: the fields of its event."""

    @field_validator("generator", mode="before")
    @classmethod
    def _known_writers(cls, value: Any) -> Any:
        asked, known = value if isinstance(value, tuple | list) else (value,), get_args(Writer)
        if not 0 < len(asked) <= len(known) or not all(each in known for each in asked):
            sentence = f"Expected one of {', '.join(known)}, or a list of those to be tried, in order."
            raise refuse("invalid_value", f"Invalid '{{param}}': {sentence}")
        return value

    @model_validator(mode="after")
    def _overlap_leaves_room(self) -> Self:
        if self.chunk_tokens is not None and (self.chunk_overlap or 0) >= self.chunk_tokens:
            sentence = f"a chunk of {self.chunk_tokens} tokens cannot repeat {self.chunk_overlap}."
            raise refuse("invalid_value", f"Invalid 'chunk_overlap': {sentence}", "chunk_overlap")
        return self


class FileForm(Request):
    """POST /files: the parts of the form, which are texts, besides the file.

    `dataset` is a JSON object, or a part for each of its fields, `dataset[held_out]`, as OpenAI's clients write
    `extra_body={"dataset": {…}}`.
    """

    file: None = None
    purpose: Annotated[FilePurpose, BeforeValidator(served_purpose)]
    anchor: Literal["created_at"] | None = Field(default=None, alias="expires_after[anchor]")
    seconds: int | None = Field(default=None, alias="expires_after[seconds]", ge=3600, le=2592000, strict=False)
    dataset: DatasetRequest | None = None

    @classmethod
    def read(cls, given: dict[str, Any], known: type[Request] | None = None) -> Self:
        """Return the form; raises ApiError: what is wrong, and where."""
        fields = {name: text for name, text in given.items() if not _OF_DATASET.fullmatch(name)}
        if "dataset" in fields:
            fields["dataset"] = _literal(fields["dataset"])
            if not isinstance(fields["dataset"], dict):
                raise ApiError("Invalid 'dataset': a JSON object is expected.", param="dataset", code="invalid_type")
        asked = {found[1]: _literal(text) for name, text in given.items() if (found := _OF_DATASET.fullmatch(name))}
        if asked:
            fields["dataset"] = {**fields.get("dataset", {}), **asked}
        return super().read(fields, known)


class Recurate(Request):
    """POST /files/{id}/recurate: score → the least or the most that a question may have."""

    min_score: dict[Score, Share] = Field(default_factory=dict, max_length=16)
    max_score: dict[Score, Share] = Field(default_factory=dict, max_length=16)


# --- jobs


class HyperparametersRequest(jobs.Hyperparameters, Request):
    """What decides how a job trains."""

    refused = frozenset({"beta", "compute_multiplier", "eval_interval", "eval_samples", "reasoning_effort"})


class Supervised(Request):
    """The one method that is served."""

    hyperparameters: HyperparametersRequest = HyperparametersRequest()


class MethodRequest(Request):
    """How OpenAI's newer clients say hyperparameters."""

    refused = frozenset({"dpo", "reinforcement"})

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised = Supervised()

    @model_validator(mode="after")
    def _served(self) -> Self:
        if self.type != "supervised":
            raise refuse("unsupported", f"The method '{self.type}' is not supported yet.")
        return self


class WandbRequest(jobs.Wandb, Request):
    """Where Weights & Biases is to show the job."""

    api_key: str | None = Field(default=None, max_length=512, exclude=True, repr=False)
    """It is stored sealed and shown nowhere."""

    @field_validator("entity", "name")
    @classmethod
    def _given(cls, text: str | None) -> str | None:
        return text or None


def _served_integration(type: str) -> str:
    if type != "wandb":
        raise refuse("unsupported", f"The integration '{type[:64]}' is not supported yet.")
    return type


class IntegrationRequest(Request):
    """A service that is told of the job."""

    tolerant = True  # what another type holds stands under its own name, and the type is refused

    type: Annotated[str, AfterValidator(_served_integration)]
    wandb: WandbRequest


class TuningRequest(jobs.Tuning, Request):
    """Which weights are trained."""


class JobRequest(jobs.JobAsked, Request):
    """POST /fine_tuning/jobs: the fields of its event, `method`, and `dataset`.

    With `dataset` the documents of the training file become another data set, made so, and the job waits for that one.
    """

    ignored = frozenset({"trainingType"})  # where Azure is to train

    hyperparameters: HyperparametersRequest = HyperparametersRequest()
    tuning: TuningRequest = TuningRequest()
    method: MethodRequest | None = None
    integrations: tuple[IntegrationRequest, ...] = Field(default=(), max_length=1)  # type: ignore[assignment]
    dataset: DatasetRequest | None = None

    def wandb_key(self) -> str | None:
        """Return the key that came with the request."""
        return next((each.wandb.api_key or None for each in self.integrations), None)

    def event(self, creator_id: str | None = None) -> jobs.JobCreated:
        """Return what the request asks for; the method's hyperparameters win, and no key is in it."""
        said = self.model_dump(exclude={"method", "dataset"})
        if self.method is not None:
            said["hyperparameters"] |= self.method.supervised.hyperparameters.model_dump(exclude_defaults=True)
        return jobs.JobCreated(
            **{name: None if value == "" else value for name, value in said.items()}, creator_id=creator_id
        )


# --- webhooks

_URL = "Expected http(s)://host[:port][/path], without a user and a fragment."


def _callable(url: str) -> str:
    if not re.fullmatch(notifications.URL, url):
        raise refuse("invalid_value", f"Invalid 'url': {_URL}")
    try:
        port = urlsplit(url).port
    except ValueError:
        port = 0
    if port == 0:
        raise refuse("invalid_value", f"Invalid 'url': {_URL}")
    return url


Url = Annotated[str, Field(max_length=1024), AfterValidator(_callable)]


class WebhookRequest(notifications.WebhookSettings, Request):
    """POST /webhook_endpoints: the fields of its event."""

    url: Url


class WebhookUpdate(Request):
    """POST /webhook_endpoints/{id}: what is to be another one."""

    name: str | None = Field(default=None, min_length=1, max_length=256, pattern=jobs.PRINTABLE)
    url: Url | None = None
    event_types: tuple[notifications.Told, ...] | None = Field(default=None, min_length=1, max_length=16)


class RotateRequest(Request):
    """POST /webhook_endpoints/{id}/rotate_secret."""

    keep_old_secret_active_for_24_hours: bool = False

    @field_validator("keep_old_secret_active_for_24_hours")
    @classmethod
    def _at_once(cls, keep: bool) -> bool:
        if keep:
            raise refuse("unsupported", "Keeping the old secret active is not supported yet: both would have to sign.")
        return keep


# --- benchmarks


class GridRequest(benchmarks.Grid, Request):
    """The needle in a haystack."""


class JobBenchmark(benchmarks.Suite, Request):
    """POST /fine_tuning/jobs/{id}/benchmarks: what is asked, and files of rows by their role."""

    grid: GridRequest = GridRequest()
    generalization_file: str | None = Field(default=None, max_length=128)
    forgetting_file: str | None = Field(default=None, max_length=128)

    @classmethod
    def read(cls, given: dict[str, Any], known: type[Request] | None = None) -> Self:
        """Return the request; what is wrong has the one code, and the way to write places, that this API began with."""
        try:
            return super().read(given, known)
        except ApiError as error:
            if error.code in ("unknown_parameter", "missing_required_parameter"):
                raise
            param = re.sub(r"\[(\d+)\]", r".\1", error.param or "")
            raise ApiError(error.message, param=param, code="invalid_value") from None

    def suite(self) -> benchmarks.Suite:
        """Return what is asked of the models."""
        return benchmarks.Suite(**self.model_dump(include=set(benchmarks.Suite.model_fields)))

    def rows(self) -> dict[str, str]:
        """Return role → file of rows."""
        named = {"generalization": self.generalization_file, "forgetting": self.forgetting_file}
        return {role: file for role, file in named.items() if file}


class ModelBenchmark(JobBenchmark):
    """POST /benchmarks."""

    model: str = Field(min_length=1, max_length=512)
    file: str | None = Field(default=None, max_length=128)


class Evaluation(JobBenchmark):
    """POST /evaluate: how well one model or several answer from a file."""

    hidden = frozenset({"tasks"})

    tasks: tuple[benchmarks.TaskName, ...] = ("documents",)
    file: str = Field(min_length=1, max_length=128)
    model: str | None = Field(default=None, max_length=512)
    models: tuple[Annotated[str, Field(min_length=1, max_length=512)], ...] = Field(default=(), max_length=MOST_MODELS)

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.models and not self.model:
            raise refuse("missing_required_parameter", "Missing required parameter: 'models'.", "models")
        return self

    def names(self) -> tuple[str, ...]:
        """Return the models, each once."""
        return tuple(dict.fromkeys(self.models or (self.model or "",)))


class Rescore(JobBenchmark):
    """POST /benchmarks/{id}/rescore: the same answers, by another judge or metric."""

    hidden = frozenset({"generalization_file", "forgetting_file", *benchmarks.Suite.model_fields}) - {"judge", "metric"}
