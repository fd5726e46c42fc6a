"""The real servers and the whole local stack as session fixtures; both end with the run, even when it is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.children.launch import launching
from infra.local.record import RunningProcess, read_stack
from infra.local.roles import SERVERS
from infra.settings import Settings
from tests.endpoint import Endpoint, answering
from tests.judge import Judge, judging

START_WITHIN = 900.0
"""Seconds; the first start on a machine obtains the servers."""
STOP_WITHIN = 60.0
GENERATORS, JUDGE = "generators.json", "judge.url"
UNTRACKED = {"TEMPER_TRACKING": "none"}
"""Unless a test asks for it: a server that nobody looks at takes half a minute of a processor."""
COMPARABLE = {
    "TEMPER_DETERMINISTIC": "true",
    "TEMPER_TRAIN_THREADS": "1",
    "TEMPER_FILE_WAIT_SECONDS": "5",
    "TEMPER_BENCHMARKS": "none",
}
"""What the shared stack is given: a resumed run ends bit-equal to an unbroken one, waits for files are short,
and nothing is benchmarked unasked."""


@dataclass(frozen=True)
class Stack:
    """A running `temper up`."""

    home: Path
    up: subprocess.Popen[bytes]

    @property
    def settings(self) -> Settings:
        """The addresses and secrets of this stack, as any process of Temper reads them."""
        return Settings(home=self.home)

    @property
    def base_url(self) -> str:
        """What an OpenAI client is given as its base URL."""
        return f"{self.process('edge').address}/v1"

    @property
    def api_key(self) -> str:
        """The first API key, of tenant `local`."""
        return (self.home / "api_key").read_text().strip()

    def process(self, name: str) -> RunningProcess:
        """What is recorded of a process now: pid, port, state, restarts."""
        stack = read_stack(self.home)
        assert stack is not None
        return stack.processes[name]

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a process of the stack; returns the pid it had."""
        pid = self.process(name).pid
        assert pid is not None, f"{name} does not run now"
        os.kill(pid, number)
        return pid

    def log(self, name: str) -> str:
        """All that a process has written to its log."""
        return (self.home / "logs" / f"{name}.log").read_text(errors="replace")


@contextmanager
def running_stack(home: Path, *arguments: str, env: dict[str, str] | None = None) -> Iterator[Stack]:
    """Run `temper up` on free ports in a home until the block ends; usable for a second start on the same home too."""
    home.mkdir(parents=True, exist_ok=True)
    log = home / "up.out"
    command = [sys.executable, "-P", "-m", "infra.cli.main", "up", "--free-ports", *arguments]
    with log.open("ab") as output:
        up = subprocess.Popen(
            [*launching(), *command],
            env={**os.environ, **UNTRACKED, **(env or {}), "TEMPER_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    stack = Stack(home, up)
    try:
        wait_until_ready(stack, log)
        yield stack
    finally:
        stop(up)


def wait_until_ready(stack: Stack, log: Path) -> None:
    """Return when the stack is ready; fail with what it said when it gives up."""
    until = time.monotonic() + START_WITHIN
    while time.monotonic() < until:
        if stack.up.poll() is not None:
            pytest.fail(f"`temper up` ended with exit status {stack.up.returncode}:\n{log.read_text()}", pytrace=False)
        found = read_stack(stack.home)
        if found is not None and found.pid == stack.up.pid and found.state == "ready":
            return
        time.sleep(0.05)
    pytest.fail(f"`temper up` was not ready after {START_WITHIN:.0f} s:\n{log.read_text()}", pytrace=False)


def stop(up: subprocess.Popen[bytes]) -> None:
    """End a `temper up` in order; one that hangs is killed."""
    if up.poll() is None:
        up.terminate()
    try:
        up.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        up.kill()
        up.wait()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings whose Kafka, MongoDB and S3 are real, empty at first, and shared by the whole run.

    Tests keep apart by names of their own: topics, databases, key prefixes.
    """
    with running_stack(tmp_path_factory.mktemp("servers"), "--only", ",".join(SERVERS)) as stack:
        yield addresses(stack)


def addresses(stack: Stack) -> Settings:
    """The settings of a stack; given addresses (`TEMPER_KAFKA_BOOTSTRAP` …) are in them as well."""
    settings = stack.settings
    assert settings.kafka_bootstrap
    assert settings.mongo_url
    assert settings.s3_url
    return settings


@pytest.fixture(scope="session")
def endpoint() -> Iterator[Endpoint]:
    """The endpoint that writes questions for the tenants that have one of their own."""
    with answering() as answers:
        yield answers


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    """The endpoint that judges answers, where a benchmark asks for it."""
    with judging(faulty=False) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, endpoint: Endpoint, judge: Judge) -> Iterator[Stack]:
    """The whole of Temper, as `temper up` starts it, shared by the whole run."""
    home = tmp_path_factory.mktemp("stack")
    endpoint.file(home / GENERATORS)
    (home / JUDGE).write_text(judge.url)
    with running_stack(home, env=shared(home)) as running:
        yield running


def shared(home: Path) -> dict[str, str]:
    """Return what the shared stack is given, whoever starts it on its home again."""
    own = {"TEMPER_JUDGE_URL": (home / JUDGE).read_text(), "TEMPER_JUDGE_MODEL": "strict-1"}
    return {**COMPARABLE, **own, "TEMPER_GENERATORS_FILE": str(home / GENERATORS)}
