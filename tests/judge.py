"""A judge by script: right where the actual output holds the expected one; it fails as real ones do.

It also reads the prompt of OpenAI's FineTuneBench notebook, and says 1 or 0: 1 where half of the words are the same.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from contracts.canonical import sha256
from functions.benchmark_model.score import f1
from tests.endpoint import serving

_CASE = re.compile(r"Input:\n(.*?) \n\nActual Output:\n(.*?) \n\nExpected Output:\n(.*?) \n\n", re.S)
_NOTEBOOK = re.compile(r"# Answer\n(.*?)\n# Advice\n.*# Second answer\n(.*)", re.S)
FAULTS = ("none", "fenced", "broken", "429", "500", "hang", "eleven", "minus", "no number")
HANGS = 30.0
"""Seconds that a hanging call takes, longer than who asks waits."""


class Judge:
    """What was asked, and what was answered."""

    def __init__(self, seconds: float = 0.0, faulty: bool = True) -> None:
        self.seconds, self.faulty = seconds, faulty
        self._lock = threading.Lock()
        self._times: Counter[str] = Counter()
        self._now = 0
        self.most = 0
        """Calls in flight at the same time."""
        self.calls: list[tuple[float, float]] = []
        """When each began and ended, in seconds."""
        self.asked: Counter[str] = Counter()
        """Hash of a request that was answered with 200 → how often."""
        self.faults: Counter[str] = Counter()
        self.ended = threading.Event()
        self.url = ""

    def answer(self, _: str, body: bytes) -> tuple[int, str] | None:
        """Return status and text of a verdict; None closes the connection."""
        request, began = json.loads(body), time.monotonic()
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            return self._answer(request, sha256(body))
        finally:
            with self._lock:
                self._now -= 1
                self.calls.append((began, time.monotonic()))

    def _answer(self, request: dict[str, Any], name: str) -> tuple[int, str] | None:
        time.sleep(self.seconds)
        notebook = _NOTEBOOK.search(request["messages"][-1]["content"])
        if notebook is not None:
            return 200, str(int(f1(notebook[2], notebook[1]) >= 0.5))
        found = _CASE.search(request["messages"][-1]["content"])
        assert found is not None, "the prompt is not what DeepEval's template makes of a case"
        said, answer = found[2], found[3]
        case = sha256(f"{found[1]}|{said}|{answer}".encode())
        with self._lock:
            self._times[case] += 1
            first = self._times[case] == 1
        fault = FAULTS[int(case[:8], 16) % len(FAULTS)] if self.faulty else "none"
        if fault in ("429", "500", "hang") and not first:  # these pass; what a reply says of a case does not
            fault = "none"
        self.faults[fault] += 1
        if fault == "429":
            return 429, ""
        if fault == "500":
            return 500, ""
        if fault == "hang":
            self.ended.wait(HANGS)
            return None
        with self._lock:
            self.asked[name] += 1
        score: object = {"eleven": 11, "minus": -3, "no number": "very good"}.get(fault, 9 if answer in said else 1)
        text = json.dumps({"reason": f"{answer!r} is wanted", "score": score})
        if fault == "fenced":
            text = f"Here you are:\n```json\n{text}\n```"
        return 200, text[: len(text) // 2] if fault == "broken" else text


def expected(case: tuple[str, str, str]) -> float | None:
    """Return the score that (question, said, answer) must end with, None where it cannot be scored."""
    question, said, answer = case
    fault = FAULTS[int(sha256(f"{question}|{said}|{answer}".encode())[:8], 16) % len(FAULTS)]
    if fault in ("broken", "no number"):
        return None
    return {"eleven": 1.0, "minus": 0.0}.get(fault, 0.9 if answer in said else 0.1)


@contextmanager
def judging(seconds: float = 0.0, faulty: bool = True) -> Iterator[Judge]:
    """Run the judge on a free port until the block ends; a verdict takes `seconds`."""
    judge = Judge(seconds, faulty)
    with serving(judge.answer, judge.ended) as port:
        judge.url = f"http://127.0.0.1:{port}/v1"
        yield judge
