"""The port that a role answers on."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.listening import PortTakenError, listen
from infra.local.ports import LOOPBACK


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which this test listens."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        yield listener.getsockname()[1]


def test_a_taken_port_is_said_with_what_to_do(taken: int) -> None:
    with pytest.raises(PortTakenError, match=rf"Port {taken} of {LOOPBACK} can't .*in use\. .*TEMPER_EDGE_PORT"):
        listen(taken, "edge_port")


@pytest.mark.slow
def test_a_role_whose_port_is_taken_ends_and_says_so(taken: int, tmp_path: Path) -> None:
    settings = {"TEMPER_HOME": str(tmp_path), "TEMPER_EDGE_PORT": str(taken), "TEMPER_INFERENCE_URL": "http://nobody"}
    command = [sys.executable, "-m", "infra.app", "edge"]
    ended = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"error: Port {taken} ")
    assert len(ended.stderr.splitlines()) == 1
