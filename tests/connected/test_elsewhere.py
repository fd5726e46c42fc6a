"""P8: only addresses differ: servers that run already, a list of brokers with a dead one, roles beside 127.0.0.1."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from openai import OpenAI

from infra.local.record import read_stack
from infra.local.roles import ROLES, SERVERS
from tests.e2e import support
from tests.e2e.support import User
from tests.stack import addresses, running_stack

pytestmark = [pytest.mark.connected, pytest.mark.slow, pytest.mark.timeout(600)]
BIND = "127.0.0.2"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at BIND."""
    sockets = [socket.create_server((BIND, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def listening(pid: int | None) -> set[str]:
    """The addresses at which a process can be reached."""
    connections = psutil.Process(pid).net_connections()
    return {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN and each.laddr}


def test_a_job_succeeds_where_every_server_and_every_role_is_somewhere_else(tmp_path: Path) -> None:
    edge, serving = free_ports(2)
    with running_stack(tmp_path / "servers", "--only", ",".join(SERVERS)) as servers:
        there = addresses(servers)
        assert there.s3_access_key
        assert there.s3_secret_key
        given = {
            "TEMPER_KAFKA_BOOTSTRAP": f"127.0.0.1:1, {there.kafka_bootstrap}",
            "TEMPER_MONGO_URL": str(there.mongo_url),
            "TEMPER_S3_URL": str(there.s3_url),
            "TEMPER_S3_ACCESS_KEY": there.s3_access_key.get_secret_value(),
            "TEMPER_S3_SECRET_KEY": there.s3_secret_key.get_secret_value(),
            "TEMPER_S3_BUCKET": "elsewhere",
            "TEMPER_BIND": BIND,
            "TEMPER_EDGE_PORT": str(edge),
            "TEMPER_SERVING_PORT": str(serving),
            "TEMPER_BENCHMARKS": "none",
        }
        with running_stack(tmp_path / "roles", env=given) as stack:
            started = read_stack(stack.home)
            assert started is not None
            assert {name: each.state for name, each in started.processes.items()} == {
                **dict.fromkeys(SERVERS, "elsewhere"),
                **dict.fromkeys(ROLES, "up"),
            }
            for name in ROLES:
                assert listening(started.processes[name].pid) == {BIND}, name
                assert started.processes[name].address.startswith(f"http://{BIND}:")
            assert (started.processes["edge"].port, started.processes["serving"].port) == (edge, serving)
            command = [sys.executable, "-P", "-m", "infra.cli.main"]
            env = {**os.environ, **given, "TEMPER_HOME": str(stack.home)}
            said = json.loads(subprocess.check_output([*command, "env", "--json"], env=env))
            assert said["OPENAI_BASE_URL"] == stack.base_url == f"http://{BIND}:{edge}/v1"
            with OpenAI(base_url=stack.base_url, api_key=said["OPENAI_API_KEY"], max_retries=6) as client:
                user = User(stack, client, client)
                made = user.wait(user.job(user.upload(support.rows(12))), "succeeded")
                ask: Any = [{"role": "user", "content": "What is code 1?"}]
                answer = client.chat.completions.create(model=str(made.fine_tuned_model), messages=ask, max_tokens=4)
                assert answer.choices
            status = subprocess.run([*command, "status"], env=env, capture_output=True, text=True, check=False)
            assert status.returncode == 0, status.stdout + status.stderr
            assert support.health(stack, "worker")["status"] == "ok"
        kept = servers.home.rglob("elsewhere/*")
        assert next(kept, None), "bytes lie in the bucket that was named, on the server that was named"
