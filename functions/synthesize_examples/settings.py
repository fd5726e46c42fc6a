"""Who writes questions."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError, field_validator

from functions._shared.settings import TargetSettings

PROBE_SECONDS = 60.0


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


class GeneratorSettings(TargetSettings):
    """The endpoints, and whether the target model is asked too."""

    generator_url: str | None = None
    """`http(s)://host[:port]/v1` of the OpenAI-compatible endpoint that writes questions."""
    generator_model: str = ""
    """The model that the endpoint is asked for."""
    generator_key: SecretStr | None = None
    """The endpoint's API key."""
    generators_file: Path | None = None
    """JSON file of tenants with an endpoint of their own: `{"TENANT": {"url": …, "model": …, "key": …}}`."""
    base_generator_share: float = Field(default=0.5, ge=0, le=1)
    """Without an endpoint the target model writes the questions, if at least this share of those that it writes about
    ten chunks pass the checks; else rules do."""
    base_probe_seconds: float = Field(default=PROBE_SECONDS, ge=0, le=600)
    """The most seconds that the target model is waited for until it is loaded, and then tried for, once for each file;
    0: it is not tried, and writes only where a request asks for it."""
    base_generator_seconds: float = Field(default=3600.0, ge=0)
    """The most that all questions of a file may take the target model, by its measured speed."""
    closed_book: bool = True
    """Ask the target model each question without its context, and drop those that it answers."""

    @field_validator("generators_file")
    @classmethod
    def endpoints_are_readable(cls, value: Path | None) -> Path | None:
        """A mistake in the file is said when the setting is read, and not by a process that does not start."""
        endpoints(value)
        return value
