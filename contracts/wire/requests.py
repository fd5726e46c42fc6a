"""What may be asked of the edge, besides completions; bounds are those of the events that follow."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from contracts.events import jobs, notifications
from contracts.wire.errors import refuse
from contracts.wire.request import Request

# --- jobs


class Hyperparameters(jobs.Hyperparameters, Request):
    """What decides how a job trains."""

    refused = frozenset({"beta", "compute_multiplier", "eval_interval", "eval_samples", "reasoning_effort"})


class Supervised(Request):
    """The one method that is served."""

    hyperparameters: Hyperparameters = Hyperparameters()


class Method(Request):
    """How OpenAI's newer clients say hyperparameters."""

    refused = frozenset({"dpo", "reinforcement"})

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised = Supervised()

    @model_validator(mode="after")
    def _served(self) -> Self:
        if self.type != "supervised":
            raise refuse("unsupported", f"The method '{self.type}' is not supported yet.")
        return self


class Wandb(jobs.Wandb, Request):
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


class Integration(Request):
    """A service that is told of the job."""

    tolerant = True  # what another type holds stands under its own name, and the type is refused

    type: Annotated[str, AfterValidator(_served_integration)]
    wandb: Wandb


class Tuning(jobs.Tuning, Request):
    """Which weights are trained."""


class JobRequest(jobs.JobAsked, Request):
    """POST /fine_tuning/jobs: the fields of its event, and `method`."""

    hyperparameters: Hyperparameters = Hyperparameters()
    tuning: Tuning = Tuning()
    method: Method | None = None
    integrations: tuple[Integration, ...] = Field(default=(), max_length=1)  # type: ignore[assignment]

    def wandb_key(self) -> str | None:
        """Return the key that came with the request."""
        return next((each.wandb.api_key or None for each in self.integrations), None)

    def event(self, creator_id: str | None = None) -> jobs.JobCreated:
        """Return what the request asks for; the method's hyperparameters win, and no key is in it."""
        said = self.model_dump(exclude={"method"})
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
