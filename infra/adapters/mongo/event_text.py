"""Unpublished events as text, as control documents keep them."""

from __future__ import annotations

import json
from typing import Any

from contracts import topics
from contracts.envelope import Event, make, sayable, understood


def encode_event(event: Event) -> str:
    """Return an unpublished event as text, so that whoever publishes it says the same; raises UnsayableError."""
    sayable(event)
    return json.dumps(
        {
            "type": event.type,
            "subject": event.subject,
            "tenant": event.tenant,
            "id": event.id,
            "cause": event.cause,
            "epoch": event.epoch,
            "attempt": event.attempt,
            "data": event.data.model_dump(mode="json"),
        },
        sort_keys=True,
    )


def decode_event(text: str) -> Event:
    """Return the event that `encode_event` wrote."""
    stored: dict[str, Any] = json.loads(text)
    topic = topics.named(stored.pop("type"))
    if topic is None:
        raise ValueError("a control document holds an event of an unknown topic")
    return make(understood(topic, stored.pop("data"), ours=True), **stored)
