"""Who writes questions."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter, ValidationError, field_validator

from functions._shared.settings import TargetSettings


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
    """`http(s)://host[:port]/v1` of the OpenAI-compatible endpoint that writes questions; none: rules write them."""
    generator_model: str = ""
    """The model that the endpoint is asked for."""
    generator_key: SecretStr | None = None
    """The endpoint's API key."""
    generators_file: Path | None = None
    """JSON file of tenants with an endpoint of their own: `{"TENANT": {"url": …, "model": …, "key": …}}`."""
    closed_book: bool = True
    """Ask the target model each question without its context, and drop those that it answers."""

    @field_validator("generators_file")
    @classmethod
    def endpoints_are_readable(cls, value: Path | None) -> Path | None:
        """A mistake in the file is said when the setting is read, and not by a process that does not start."""
        endpoints(value)
        return value
