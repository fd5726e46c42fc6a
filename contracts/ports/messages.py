"""How people are told: mail and webhooks."""

from __future__ import annotations

from contracts.ports.errors import UnavailableError


class PostponedError(UnavailableError):
    """What the work says itself: there is nothing to do before so many seconds have passed."""

    def __init__(self, dependency: str, message: str, seconds: float) -> None:
        super().__init__(dependency, message)
        self.seconds = seconds
