"""Completions that are kept because their caller asked for it: responses and chats."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from contracts.blobs import BlobRef
from contracts.bounds import Count, Id, Name
from contracts.events import Payload

MOST_BYTES = 4 * 2**20
"""Of one that is kept; beyond, log-probabilities are left out of it."""
_Name = Annotated[str, Field(max_length=64)]
_Value = Annotated[str, Field(max_length=512)]
Metadata = Annotated[dict[_Name, _Value], Field(max_length=16)]


class CompletionRecorded(Payload):
    """What a model answered is kept with what it was asked."""

    kind: Literal["response", "chat"]
    model: Name
    """As the request named it."""
    blob: BlobRef
    """JSON: `{"response": …, "input": […]}`, or `{"request": …, "completion": …}`."""
    metadata: Metadata = Field(default_factory=dict)
    previous: Id | None = None
    """The response that this one goes on from."""
    expires_after: int = Field(ge=3600, le=366 * 24 * 3600)
    """Seconds after which it goes."""
    tokens: Count = 0
    """Of prompt and answer."""


class CompletionUpdated(Payload):
    """It has other metadata from now on; all of them are said again."""

    metadata: Metadata = Field(default_factory=dict)


class CompletionDeleted(Payload):
    """Its bytes are gone and its id stays dead."""

    reason: Literal["requested", "expired", "crowded"] = "requested"
    """`crowded`: its tenant keeps more than a tenant may, and this was the oldest."""
