"""The port that a role answers on."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from infra.local.child import spawn
from infra.local.ports import LOOPBACK, LOOPBACK_V6, LocalPorts, http_address
from infra.local.roles import ROLES, role_program
from infra.runtime.listening import PortTakenError, listen
from infra.settings import AskedSettings

V6 = pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which this test listens."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        yield listener.getsockname()[1]


def test_a_taken_port_is_said_with_what_to_do(taken: int) -> None:
    with pytest.raises(PortTakenError, match=rf"Port {taken} of {LOOPBACK} can't .*in use\. .*TEMPER_EDGE_PORT"):
        listen(ip_address(LOOPBACK), taken, "edge_port")


@pytest.mark.parametrize(
    ("bind", "reached"),
    [
        (LOOPBACK, {LOOPBACK}),
        ("0.0.0.0", {LOOPBACK, "127.0.0.2"}),
        pytest.param(LOOPBACK_V6, {LOOPBACK_V6}, marks=V6),
        pytest.param("::", {LOOPBACK, "127.0.0.2", LOOPBACK_V6}, marks=V6),
    ],
)
def test_what_is_bound_is_reached_there_and_nowhere_else(bind: str, reached: set[str]) -> None:
    with listen(ip_address(bind), 0, "edge_port") as listener:
        port = listener.getsockname()[1]
        assert {host for host in (LOOPBACK, "127.0.0.2", LOOPBACK_V6) if answers(host, port)} == reached
        url = urlsplit(http_address(bind, port))
        assert answers(str(url.hostname), url.port or 0)


def answers(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def test_an_address_of_another_machine_is_said_with_what_to_do() -> None:
    with pytest.raises(PortTakenError, match=r"192\.0\.2\.1 can't .*Set TEMPER_BIND to an address of this machine"):
        listen(ip_address("192.0.2.1"), 0, "edge_port")


@V6
@pytest.mark.slow
@pytest.mark.parametrize("name", ROLES)
async def test_every_role_listens_where_it_is_told(tmp_path: Path, name: str) -> None:
    nobody = f"{LOOPBACK}:1"
    urls = {"kafka_bootstrap": nobody, "mongo_url": f"mongodb://{nobody}", "s3_url": f"http://{nobody}"}
    secrets = dict.fromkeys(("s3_access_key", "s3_secret_key", "signing_key"), SecretStr("x" * 20))
    settings = AskedSettings.model_validate(
        {"home": tmp_path, "bind": LOOPBACK_V6, "inference_url": f"http://{nobody}", **urls, **secrets}
    )
    program = role_program(ROLES[name], settings, LocalPorts({}, usual=False, bind=LOOPBACK_V6).free())
    child = await spawn(program, tmp_path / "log")
    try:
        async with asyncio.timeout(60):
            while not await program.healthy():
                assert child.process.returncode is None, child.log.read_text()
                await asyncio.sleep(0.05)
        assert program.address == f"http://[::1]:{program.port}"
        assert not answers(LOOPBACK, program.port)
    finally:
        await child.stop()


@pytest.mark.slow
def test_a_role_whose_port_is_taken_ends_and_says_so(taken: int, tmp_path: Path) -> None:
    settings = {"TEMPER_HOME": str(tmp_path), "TEMPER_EDGE_PORT": str(taken), "TEMPER_INFERENCE_URL": "http://nobody"}
    command = [sys.executable, "-m", "infra.roles.app", "edge"]
    ended = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"error: Port {taken} ")
    assert len(ended.stderr.splitlines()) == 1
