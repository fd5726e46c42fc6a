"""What could not be handled."""

from __future__ import annotations

from contracts.events import Payload


class DeadLetter(Payload):
    """A record that a function gave up on; its bytes stay where they are in Kafka."""

    code: str
    message: str
    topic: str
    partition: int
    offset: int
    function: str
    """The consumer group that gave up."""
    tries: int = 1
