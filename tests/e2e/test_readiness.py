"""P5: readiness tells the truth about every dependency, by name and soon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.e2e import support
from tests.e2e.support import User
from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]
NEEDED = ("kafka", "mongo", "minio")
OTHERS = ("serving", "worker", "trainer")


def asked(stack: Stack, path: str) -> tuple[int, dict[str, Any]]:
    """Status code and body of GET /readyz or /status."""
    answer = support.HTTP.get(stack.base_url.removesuffix("/v1") + path)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("name", [*NEEDED, *OTHERS])
def test_a_part_that_hangs_is_named_and_only_what_the_edge_needs_turns_it_red(
    user: User, stack: Stack, name: str
) -> None:
    support.until(lambda: asked(stack, "/status")[1]["status"] == "ok", "all well before")
    pid = stack.kill(name, signal.SIGSTOP)
    began = time.monotonic()
    try:

        def red() -> str | None:
            checks = asked(stack, "/status")[1]["checks"]
            assert set(checks) >= {*NEEDED, *OTHERS, "read_models", "groups"}
            return None if checks[name]["ok"] else str(checks[name]["message"])

        said = support.until(red, f"red for {name}", support.prompt())
        print(f"{name}: red after {time.monotonic() - began:.1f} s: {said}")
        assert len(said) > 10, "the reason is a sentence"
        code, body = asked(stack, "/readyz")
        assert (code, name in body["checks"]) == ((503, True) if name in NEEDED else (200, False))
    finally:
        os.kill(pid, signal.SIGCONT)
    support.until(lambda: asked(stack, "/status")[1]["status"] == "ok", f"all well after {name} goes on")
    assert stack.process(name).pid == pid
    assert user.get("/models").status_code == 200


def test_status_shows_the_processes_and_what_the_edge_says(user: User, stack: Stack) -> None:
    support.until(lambda: asked(stack, "/status")[1]["status"] == "ok", "all well before")
    command = [sys.executable, "-P", "-m", "infra.cli.main", "status"]
    env = {**os.environ, "TEMPER_HOME": str(stack.home)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "the API is ok" in done.stdout
