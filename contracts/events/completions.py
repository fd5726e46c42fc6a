"""Completions that are kept because their caller asked for it, responses and chats; and responses in the background."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from contracts.blobs import BlobRef
from contracts.bounds import Code, Count, Id, Name, Sentence
from contracts.events import Payload

MOST_BYTES = 4 * 2**20
"""Of one that is kept; beyond, log-probabilities are left out of it."""
STAGE = "answer_response"
"""Of the control document by which a response in the background ends once, by its work or because it is cancelled."""
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
    event_bytes: Count = 0
    """Of the events that are kept of one that was streamed in the background."""


class CompletionRequested(Payload):
    """A response is to be made in the background; it is over when it is recorded, failed, cancelled or deleted."""

    kind: Literal["response"] = "response"
    model: Name
    """As the request named it."""
    blob: BlobRef
    """JSON: `{"chat": …, "input": […], "response": …}`: what is asked, of what it was made, what is shown meanwhile."""
    metadata: Metadata = Field(default_factory=dict)
    previous: Id | None = None
    """The response that this one goes on from."""
    expires_after: int = Field(ge=3600, le=366 * 24 * 3600)
    """Seconds after which it goes."""


class CompletionStarted(Payload):
    """A response in the background is being answered."""


class CompletionFailed(Payload):
    """A response in the background has no answer, and will have none."""

    code: Code
    message: Sentence


class CompletionCancelled(Payload):
    """A response in the background is not wanted any more."""


class CompletionUpdated(Payload):
    """It has other metadata from now on; all of them are said again."""

    metadata: Metadata = Field(default_factory=dict)


class CompletionDeleted(Payload):
    """Its bytes are gone and its id stays dead."""

    reason: Literal["requested", "expired", "crowded"] = "requested"
    """`crowded`: its tenant keeps more than a tenant may, and this was the oldest."""
