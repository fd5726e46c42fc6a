"""`temper up` on real servers: nothing outlives it, and the next one goes on with the data."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from pymongo import MongoClient

from infra.local.record import read_stack
from infra.settings import Settings
from tests.stack import Stack, running_stack

pytestmark = pytest.mark.connected


def write(stack: Stack, number: int) -> None:
    """Store one document, acknowledged by the replica set."""
    with MongoClient[dict[str, int]](stack.settings.mongo_url, serverSelectionTimeoutMS=10_000) as client:
        client.test.things.insert_one({"_id": number})


def stored(stack: Stack) -> list[int]:
    """The numbers of the stored documents."""
    with MongoClient[dict[str, int]](stack.settings.mongo_url, serverSelectionTimeoutMS=10_000) as client:
        return sorted(thing["_id"] for thing in client.test.things.find())


def temper(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a home."""
    command = [sys.executable, "-P", "-m", "infra.cli.main", *arguments]
    env = {**os.environ, "TEMPER_HOME": str(home)}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def readable_by_others(home: Path) -> list[Path]:
    """What the group or everybody may look at; files come and go meanwhile."""
    found = []
    for path in (home, *home.rglob("*")):
        with suppress(FileNotFoundError):
            if path.lstat().st_mode & 0o077:
                found.append(path)
    return found


def test_after_kill_9_nothing_is_left_and_the_next_start_has_the_same_ports_and_data(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    for path in (tmp_path, tmp_path / "kafka"):  # as an earlier version left them
        path.chmod(0o755)
    with running_stack(tmp_path, "--only", "kafka,mongo,minio") as first:
        write(first, 1)
        assert readable_by_others(tmp_path) == []
        before = read_stack(tmp_path)
        assert before is not None
        assert temper(tmp_path, "status").returncode == 0
        first.up.kill()
        first.up.wait()
        until = time.monotonic() + 10
        while any(process.alive() for process in before.processes.values()):
            assert time.monotonic() < until, "a server outlived `temper up`"
            time.sleep(0.01)
        assert "No stack is running" in temper(tmp_path, "status").stderr
    with running_stack(tmp_path, "--only", "kafka,mongo,minio") as second:
        after = read_stack(tmp_path)
        assert after is not None
        assert after.ports == before.ports
        assert stored(second) == [1]
        assert second.settings.s3_secret_key == Settings(home=tmp_path).s3_secret_key


def test_a_port_taken_meanwhile_is_replaced_and_the_replica_set_follows(tmp_path: Path) -> None:
    with running_stack(tmp_path, "--only", "mongo") as first:
        write(first, 1)
        port = first.process("mongo").port
    with socket.create_server(("127.0.0.1", port)), running_stack(tmp_path, "--only", "mongo") as second:
        assert second.process("mongo").port != port
        write(second, 2)
        assert stored(second) == [1, 2]


def test_detach_leaves_it_running_status_shows_it_and_down_stops_it(tmp_path: Path) -> None:
    up = temper(tmp_path, "up", "--detach", "--free-ports", "--only", "mongo")
    try:
        assert up.returncode == 0, up.stderr
        assert "mongo    ready in" in up.stdout
        status = temper(tmp_path, "status")
        assert status.returncode == 0
        assert "answers" in status.stdout
        stack = read_stack(tmp_path)
        assert stack is not None
        os.kill(stack.processes["mongo"].pid or 0, signal.SIGSTOP)
        silent = temper(tmp_path, "status")
        assert silent.returncode == 1
        assert "silent" in silent.stdout
        os.kill(stack.processes["mongo"].pid or 0, signal.SIGCONT)
    finally:
        down = temper(tmp_path, "down")
    assert down.stdout == f"stopped; the data stays in {tmp_path}\n"
    assert not stack.alive()
    assert not any(process.alive() for process in stack.processes.values())


def test_status_knows_a_tracker_that_starts_from_one_that_answers(tmp_path: Path) -> None:
    with running_stack(tmp_path, "--only", "mlflow", env={"TEMPER_TRACKING": "mlflow"}) as stack:
        starting = temper(tmp_path, "status")  # nobody waits for it: the stack is ready before
        assert starting.returncode == 0
        until = time.monotonic() + 300
        while stack.process("mlflow").state == "starting":
            assert time.monotonic() < until, stack.log("mlflow")
            time.sleep(0.1)
        status = temper(tmp_path, "status")
        assert status.returncode == 0, status.stdout
        assert "answers" in status.stdout


def test_a_start_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    with running_stack(tmp_path, "--only", "mongo"):
        pass
    for file in (tmp_path / "mongo").glob("WiredTiger*"):
        file.write_text("not a database")
    up = temper(tmp_path, "up", "--detach", "--free-ports", "--only", "mongo")
    assert up.returncode == 1
    assert "mongo stopped while starting" in up.stdout
    assert "Traceback" not in up.stdout + up.stderr
    stack = read_stack(tmp_path)
    assert stack is not None
    assert stack.state == "down"
