"""P5: readiness tells the truth about every dependency, by name and soon."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from tests.e2e import support
from tests.e2e.support import User
from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]
DEPENDENCIES = ("kafka", "mongo", "minio", "serving", "worker", "trainer")


def readiness(stack: Stack) -> tuple[int, dict[str, Any]]:
    """Status and checks of GET /readyz."""
    answer = support.HTTP.get(stack.base_url.removesuffix("/v1") + "/readyz")
    return answer.status_code, answer.json()["checks"]


@pytest.mark.parametrize("name", DEPENDENCIES)
def test_a_dependency_that_hangs_turns_readiness_red_by_name(user: User, stack: Stack, name: str) -> None:
    support.until(lambda: readiness(stack)[0] == 200, "readiness before")
    pid = stack.kill(name, signal.SIGSTOP)
    began = time.monotonic()
    try:

        def red() -> str | None:
            status, checks = readiness(stack)
            assert set(checks) == set(DEPENDENCIES)
            return None if checks[name]["ok"] else f"{status} {checks[name]['message']}"

        said = support.until(red, f"red for {name}", support.prompt())
        print(f"{name}: red after {time.monotonic() - began:.1f} s: {said}")
        assert said.startswith("503 ")
        assert len(said) > len("503 ") + 10, "the reason is a sentence"
    finally:
        os.kill(pid, signal.SIGCONT)
    support.until(lambda: readiness(stack)[0] == 200, f"readiness after {name} goes on")
    assert stack.process(name).pid == pid
    assert user.get("/models").status_code == 200
