"""Which port a process gets."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from infra.local.errors import UserError
from infra.local.ports import LOOPBACK, LocalPorts, is_free


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which this test listens."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        yield listener.getsockname()[1]


def free_port() -> int:
    return LocalPorts({}, usual=False).free()


def test_the_usual_port_is_given_when_it_is_free() -> None:
    usual = free_port()
    assert LocalPorts({}, usual=True).choose("edge", usual) == usual


def test_a_taken_usual_port_gives_way_to_a_free_one(taken: int) -> None:
    chosen = LocalPorts({}, usual=True).choose("edge", taken)
    assert chosen != taken
    assert is_free(chosen)


def test_the_port_of_the_last_start_goes_before_the_usual_one() -> None:
    usual, last = free_port(), free_port()
    assert LocalPorts({"edge": last}, usual=True).choose("edge", usual) == last


def test_an_asked_port_that_is_taken_is_refused_with_what_to_do(taken: int) -> None:
    with pytest.raises(UserError, match=rf"Port {taken}, asked for edge by TEMPER_EDGE_PORT, is taken.*unset"):
        LocalPorts({}, usual=True).choose("edge", 8000, asked=taken)


def test_no_port_is_given_twice() -> None:
    ports = LocalPorts({"a": 20001, "b": 20001}, usual=True)
    given = [ports.choose(name, 20002) for name in ("a", "b", "c", "d")]
    assert len(set(given)) == len(given)


def test_no_port_is_given_to_two_stacks_that_start_together() -> None:
    code = "from infra.local.ports import LocalPorts; print(LocalPorts({}, usual=False).free(), flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        assert is_free(port)  # nobody listens yet
        assert LocalPorts({}, usual=True).choose("edge", port) != port
        other.communicate("\n")
    assert LocalPorts({}, usual=True).choose("edge", port) == port


def test_the_usual_ports_can_be_left_alone() -> None:
    usual = free_port()
    assert LocalPorts({}, usual=False).choose("edge", usual) != usual
