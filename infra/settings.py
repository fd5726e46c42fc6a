"""What may be set from outside: environment variables `TEMPER_…`, then what a running local stack recorded."""

import json
import os
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    Field,
    IPvAnyAddress,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from contracts.function import FunctionSettings

Wanted = TypeVar("Wanted", bound=FunctionSettings)


def default_cache() -> Path:
    """The folder that all checkouts share: servers, wheels, archives."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "temper"


class Settings(BaseSettings):
    """Every setting of Temper, frozen; the environment wins over what `temper up` recorded in `home`."""

    model_config = SettingsConfigDict(
        env_prefix="TEMPER_", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    joins_running_stack: ClassVar[bool] = True

    home: Path = Path(".temper")
    """Where the local stack keeps its state: data, logs, secrets, the record of its ports."""
    cache: Path = Field(default_factory=default_cache)
    """Where obtained servers and fetched models live: `$XDG_CACHE_HOME/temper`, else `~/.cache/temper`. Models take at
    most half of the disk's space that is free without them; unused for 30 days, they leave."""

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

    workers: str = ""
    """Functions of each worker process that `temper up` starts, `validate_file,extract_zip;prepare_job;…`; none: one
    process runs all."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps`."""
    train_threads: int = 0
    """CPU threads of the training process; 0: the library's choice."""
    kafka_flush: bool = False
    """Local Kafka writes every message through to the disk (survives power loss; publish p50 grows about tenfold)."""

    @field_validator("s3_url", "inference_url", "mlflow_url")
    @classmethod
    def shown_addresses_hold_no_secret(cls, value: str | None) -> str | None:
        """These addresses stand in events, logs and answers."""
        if value and urlsplit(value).password:
            raise ValueError("it holds a password, and addresses are shown; give that in the variable made for it")
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


def wrong_setting(error: ValidationError) -> str | None:
    """Return which setting is not valid and why, None where the error is of something else; no value is quoted."""
    if not error.title.endswith("Settings"):
        return None
    wrong = error.errors(include_input=False)[0]
    return f"The setting TEMPER_{str(wrong['loc'][0]).upper()} is not valid: {wrong['msg']}."


def of_function(wanted: type[Wanted]) -> Wanted:
    """Return a function's settings from the environment; raises ValidationError."""
    found: Wanted = _from_environment(wanted)()
    return found


@cache
def _from_environment(wanted: type[FunctionSettings]) -> Any:
    return type(wanted.__name__, (_Environment, wanted), {"__module__": wanted.__module__})


class _Environment(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="TEMPER_", env_ignore_empty=True, extra="ignore", frozen=True)
