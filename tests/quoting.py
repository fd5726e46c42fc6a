"""An endpoint of generator and judge whose refusals say which key they were given, as some real ones do."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.endpoint import serving
from tests.judge import Judge

REFUSED = "refused"
"""The tenant whose generator does not take its key."""


@dataclass
class Quoting:
    """What is asked of it, by path: the judge fails at first and then judges, the generator refuses."""

    judge: Judge
    judge_key: str = field(default_factory=lambda: f"sk-judge-{secrets.token_hex(20)}")
    generator_key: str = field(default_factory=lambda: f"sk-generator-{secrets.token_hex(20)}")
    port: int = 0
    said: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(what it was asked as, the status that it answered) → how often."""

    def url(self, who: str) -> str:
        """What the judge or a tenant's generator is given as its base URL."""
        return f"http://127.0.0.1:{self.port}/{who}/v1"

    def generators(self) -> dict[str, Any]:
        """What the setting `generators_file` wants."""
        return {REFUSED: {"url": self.url(REFUSED), "model": "writer-1", "key": self.generator_key}}

    def answer(self, path: str, body: bytes) -> tuple[int, str] | None:
        """Return status and text, or None to close the connection without a word."""
        who = path.split("/")[1]
        if who == REFUSED:
            said: tuple[int, str] | None = (401, f"Incorrect API key provided: {self.generator_key}")
        elif not self.said[who, 500]:
            said = (500, f"The key {self.judge_key} met an internal error")
        else:
            said = self.judge.answer(path, body)
        self.said[who, said[0] if said else 0] += 1
        return said


@contextmanager
def quoting_keys(judge: Judge) -> Iterator[Quoting]:
    """Run the endpoint on a free port until the block ends."""
    endpoint = Quoting(judge)
    with serving(endpoint.answer, threading.Event()) as port:
        endpoint.port = port
        yield endpoint
