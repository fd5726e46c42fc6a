"""What could not be handled."""

from __future__ import annotations

from contracts.bounds import Code, Count, Key, Sentence
from contracts.events import Payload


class DeadLetter(Payload):
    """A record that a function gave up on; its bytes stay where they are in Kafka."""

    code: Code
    message: Sentence
    topic: Key
    partition: Count
    offset: Count
    function: Code
    """The consumer group that gave up."""
    tries: Count = 1
