"""Notifications: who is to be told of what, and whether they were; webhook endpoints."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contracts.bounds import Code, Count, Id, Phrase, Sentence
from contracts.events import Payload
from contracts.events.jobs import PRINTABLE

Told = Literal["fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"]
"""What endpoints may be told of, as OpenAI calls it."""
URL = r"^https?://[^\x00-\x20\x7f/?#@\\]+([/?][^\x00-\x20\x7f#]*)?$"


def webhook_secret(endpoint: str) -> str:
    """Return the name under which an endpoint's signing secret is kept sealed."""
    return f"webhook/{endpoint}"


class WebhookSettings(Payload):
    """What its owner says of a webhook endpoint."""

    name: str = Field(min_length=1, max_length=256, pattern=PRINTABLE)
    url: str = Field(min_length=1, max_length=1024, pattern=URL)
    """`http(s)://host[:port][/path]`, without a user and a fragment."""
    event_types: tuple[Told, ...] = Field(min_length=1, max_length=16)


class WebhookEndpointCreated(WebhookSettings):
    """Somebody wants to be called; with which secret calls are signed is in no event."""

    hint: Code
    """The secret's last characters."""


class WebhookEndpointUpdated(WebhookSettings):
    """The endpoint is another one from now on; all of it is said again."""

    hint: Code


class WebhookEndpointDeleted(Payload):
    """The endpoint is called no more."""


class NotificationRequested(Payload):
    """Somebody is to be told of something, once."""

    what: Told
    job: Id
    event_id: Id
    """Of the event that it is about."""
    at: Count
    """When that happened, in milliseconds."""
    channel: Literal["email", "webhook"]
    to: Id
    """The key whose address is written to, or the endpoint that is called."""


class NotificationDelivered(Payload):
    """The mail server or the endpoint has taken it."""

    answer: Phrase
    """What it said: a status."""


class NotificationFailed(Payload):
    """Nobody was told, and nobody will be: the dead letter of a notification."""

    code: Code
    message: Sentence
