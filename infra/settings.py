"""What may be set from outside: environment variables `TEMPER_…`, then what a running local stack recorded."""

import json
import os
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyAddress,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict


def default_cache() -> Path:
    """The folder that all checkouts share: servers, wheels, archives."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "temper"


class Endpoint(BaseModel):
    """An OpenAI-compatible endpoint that writes questions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    model: str
    key: SecretStr = SecretStr("")


def endpoints(file: Path | None) -> dict[str, Endpoint]:
    """Return tenant → its endpoint, as `generators_file` says; raises ValueError where the file is wrong."""
    if file is None:
        return {}
    try:
        return TypeAdapter(dict[str, Endpoint]).validate_json(file.read_bytes())
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        found = error.errors(include_input=False)[0]
        where = " → ".join(map(str, found["loc"]))
        shape = '{"TENANT": {"url": …, "model": …, "key": …}}'
        raise ValueError(f"{file} must hold {shape}; {where or 'it'}: {found['msg']}") from None


class Settings(BaseSettings):
    """Every setting of Temper, frozen; the environment wins over what `temper up` recorded in `home`."""

    model_config = SettingsConfigDict(env_prefix="TEMPER_", env_ignore_empty=True, extra="ignore", frozen=True)

    joins_running_stack: ClassVar[bool] = True

    home: Path = Path(".temper")
    """Where the local stack keeps its state: data, logs, secrets, the record of its ports."""
    cache: Path = Field(default_factory=default_cache)
    """Where obtained servers and fetched models live: `$XDG_CACHE_HOME/temper`, else `~/.cache/temper`."""

    kafka_bootstrap: str | None = None
    """`host:port[,host:port]` of a Kafka that runs already; none: `temper up` starts one."""
    mongo_url: str | None = None
    """`mongodb://…` of a replica set that runs already; none: `temper up` starts one."""
    s3_url: str | None = None
    """`http(s)://host:port` of an S3 server that runs already; none: `temper up` starts MinIO."""
    s3_access_key: SecretStr | None = None
    """Access key of `s3_url`; `temper up` makes one for its own MinIO."""
    s3_secret_key: SecretStr | None = None
    """Secret key of `s3_url`."""
    s3_bucket: str = "temper"
    """The bucket that holds all bytes."""
    inference_url: str | None = None
    """`http://host:port` of the serving process; none: `temper up` starts one."""

    tracking: Literal["mlflow", "none"] = "mlflow"
    """Where runs are compared: an MLflow server, or nowhere."""
    mlflow_url: str | None = None
    """`http://host:port` of an MLflow server that runs already; none: `temper up` starts one."""

    wandb: Literal["online", "offline"] = "online"
    """Whether jobs that ask for Weights & Biases write there, or into `wandb` in `home`, for `wandb sync`."""

    signing_key: SecretStr | None = None
    """Signs Temper's own events (HMAC); `temper up` makes one and keeps it in `home`."""
    unsigned_tenant: str | None = "local"
    """The one tenant whose outside events are accepted without a signature; the word `none`: nobody's."""

    bind: IPvAnyAddress = IPv4Address("127.0.0.1")
    """The address that edge, serving, worker and trainer listen on; `0.0.0.0` or `::`: on every one. Only the edge
    asks for keys."""
    edge_port: int | None = None
    """Port of the edge; none: 8000, or a free one when that is taken."""
    serving_port: int | None = None
    """Port of the serving process; none: 8001, or a free one when that is taken."""
    health_port: int | None = None
    """Port on which a worker or trainer answers `GET /healthz`; `temper up` chooses it."""

    target_model: str = "temper-demo-1m"
    """The base model in whose tokens documents are cut into chunks."""
    chunk_tokens: int = Field(default=256, ge=16)
    """Longest chunk of a document."""
    chunk_overlap: int = Field(default=32, ge=0)
    """Tokens that a chunk repeats of the one before it."""
    held_out: float = Field(default=0.1, ge=0, le=0.9)
    """Share of an archive's documents or sections that training never sees."""
    rows_per_chunk: int = Field(default=3, ge=1, le=50)
    """Questions asked of a chunk of usual length."""
    row_variants: int = Field(default=2, ge=1, le=16)
    """Rows of each training example, each among other distractors; an epoch takes one of them."""
    hard_distractors: int = Field(default=2, ge=0, le=32)
    """Passages in a row that BM25 finds for its question and that do not answer it."""
    random_distractors: int = Field(default=1, ge=0, le=32)
    """Passages in a row from anywhere else."""
    context_tokens: int = Field(default=1024, ge=16)
    """The most that a row's passages may have in the target model's tokens."""
    shown_headings: int = Field(default=9, ge=0, le=9)
    """Headings above a passage that are shown with it, the nearest."""
    absent_share: float = Field(default=0.1, ge=0, le=0.5)
    """Share of rows whose passages do not hold the answer: the right one is that the context does not say."""
    general_file: str | None = None
    """Id of an uploaded chat file whose rows are mixed into every data set, against forgetting, and asked after it."""
    general_share: float = Field(default=0.1, ge=0, le=0.9)
    """Share of a data set's training rows that are general ones."""
    min_coverage: float = Field(default=0.5, ge=0, le=1)
    """Share of the training chunks that need a row, or else there is no data set."""
    generator_url: str | None = None
    """`http(s)://host[:port]/v1` of the OpenAI-compatible endpoint that writes questions; none: rules write them."""
    generator_model: str = ""
    """The model that the endpoint is asked for."""
    generator_key: SecretStr | None = None
    """The endpoint's API key."""
    generators_file: Path | None = None
    """JSON file of tenants with an endpoint of their own: `{"TENANT": {"url": …, "model": …, "key": …}}`."""
    judge_url: str | None = None
    """`http(s)://host[:port]/v1` of the OpenAI-compatible endpoint that judges answers; none: rules score them."""
    judge_model: str = ""
    """The model that the endpoint is asked for."""
    judge_key: SecretStr | None = None
    """The endpoint's API key."""
    judge_seconds: float = Field(default=120.0, gt=0)
    """How long the judge may take for an answer."""
    closed_book: bool = True
    """Ask the target model each question without its context, and drop those that it answers."""
    benchmarks: Literal["default", "none"] = "default"
    """What is asked of a tuned model and its base once a job has succeeded."""
    benchmark_items: int = Field(default=60, ge=1, le=10_000)
    """Most questions of each task of the default benchmark."""
    bundle: Path | None = None
    """Folder with public benchmarks (`temper bundle check` says what is in it)."""
    file_wait_seconds: float = 300.0
    """How long a job waits for a file or a base model that nobody has heard of, before it fails."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps`."""
    train_threads: int = 0
    """CPU threads of the training process; 0: the library's choice."""
    deterministic: bool = False
    """Train so that a resumed run ends bit-equal to an unbroken one (slower)."""
    kafka_flush: bool = False
    """Local Kafka writes every message through to the disk (survives power loss; publish p50 grows about tenfold)."""

    @field_validator("generators_file")
    @classmethod
    def endpoints_are_readable(cls, value: Path | None) -> Path | None:
        """A mistake in the file is said when the setting is read, and not by a process that does not start."""
        endpoints(value)
        return value

    @field_validator("chunk_overlap")
    @classmethod
    def overlap_leaves_room(cls, value: int, info: ValidationInfo) -> int:
        """A chunk has to say something that the one before it does not."""
        size: int = info.data.get("chunk_tokens", value + 1)  # missing where it is itself not valid
        if value >= size:
            raise ValueError(f"a chunk of {size} tokens (TEMPER_CHUNK_TOKENS) cannot repeat {value}")
        return value

    @field_validator("unsigned_tenant")
    @classmethod
    def none_is_nobody(cls, value: str | None) -> str | None:
        """An environment variable cannot be null, so the word `none` says it."""
        return None if value == "none" else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the running local stack of that home."""
        if not cls.joins_running_stack:
            return init_settings, env_settings
        home = init_settings().get("home") or env_settings().get("home") or cls.model_fields["home"].default
        return init_settings, env_settings, RunningStack(settings_cls, Path(home))


class AskedSettings(Settings):
    """What the environment asks for, and nothing that an earlier stack recorded: what `temper up` starts from."""

    joins_running_stack: ClassVar[bool] = False


class RunningStack(PydanticBaseSettingsSource):
    """Addresses and secrets of the local stack that runs in a home, so that other commands find it."""

    def __init__(self, settings_cls: type[BaseSettings], home: Path) -> None:
        super().__init__(settings_cls)
        self.home = home

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """One field's value; unused: all of them are read at once."""
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """The recorded addresses and secrets; empty when no stack runs there."""
        stack = read_json(self.home / "stack.json")
        if stack.get("state") not in ("starting", "ready"):
            return {}
        return {**stack.get("settings", {}), **read_json(self.home / "secrets.json")}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty when the file is missing (both files are replaced atomically)."""
    try:
        loaded: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return loaded
