"""The command line: clear sentences instead of tracebacks, and a fast start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.cli.main import COMMANDS, temper
from infra.local.errors import UserError
from infra.local.files import locked
from infra.local.ports import http_address
from infra.local.record import RunningProcess, Stack, born, write_stack
from infra.local.roles import PARTS, SERVERS
from infra.local.stack import parts_to_start, without_password
from infra.settings import AskedSettings


def run(home: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `temper` in a home."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TEMPER_")}
    return subprocess.run(
        [sys.executable, "-m", "infra.cli.main", *arguments],
        env={**clean, "TEMPER_HOME": str(home), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_command_loads_and_explains_itself() -> None:
    for name in COMMANDS:
        command = temper.get_command(temper.make_context("temper", [name]), name)
        assert command is not None
        assert command.name == name
        assert command.help, f"{name} does not say what it does"


def test_help_imports_neither_torch_nor_a_driver(tmp_path: Path) -> None:
    code = "import sys, infra.cli.main; infra.cli.main.temper(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert not loaded & {"torch", "transformers", "aiokafka", "pymongo", "minio", "faststream"}


def test_an_unknown_command_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    done = run(tmp_path, "upp")
    assert done.returncode == 2
    assert "There is no command 'upp'. Known are up, down" in done.stderr


@pytest.mark.parametrize("command", ["status", "env"])
def test_what_needs_a_stack_says_how_to_start_one(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, command)
    assert done.returncode == 1
    assert done.stderr.startswith("error: No stack is running in")
    assert "temper up" in done.stderr


@pytest.mark.parametrize("bind", ["127.0.0.1", "::"])
def test_env_names_the_edge_under_both_names_of_its_address(tmp_path: Path, bind: str) -> None:
    edge = RunningProcess(address=http_address(bind, 8000), port=8000, state="up")
    since = born(os.getpid())
    stack = Stack(
        state="ready", pid=os.getpid(), born=since, started_at=since, settings={}, ports={}, processes={"edge": edge}
    )
    write_stack(tmp_path, stack)
    (tmp_path / "api_key").write_text("tmp-key\n")
    url = f"{edge.address}/v1"
    values = {"OPENAI_BASE_URL": url, "OPENAI_API_BASE": url, "OPENAI_API_KEY": "tmp-key"}
    assert json.loads(run(tmp_path, "env", "--json").stdout) == values
    shell = run(tmp_path, "env").stdout
    exported = subprocess.run(["sh", "-c", f"{shell}env"], capture_output=True, text=True, check=True).stdout
    assert {f"{name}={value}" for name, value in values.items()} <= set(exported.splitlines())


def test_down_without_a_stack_is_no_error(tmp_path: Path) -> None:
    done = run(tmp_path, "down")
    assert (done.returncode, done.stdout) == (0, f"nothing runs in {tmp_path}\n")


def test_a_second_stack_in_a_home_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path / "lock", wait=False) as got:
        assert got
        done = run(tmp_path, "up", "--only", "mongo")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: A stack runs in {tmp_path} already")


def test_a_server_elsewhere_that_is_silent_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.local.stack.ELSEWHERE_WITHIN", 0.1)
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path))
    monkeypatch.setenv("TEMPER_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    with pytest.raises(UserError, match=r"kafka at 127\.0\.0\.1:1 \(TEMPER_KAFKA_BOOTSTRAP\) does not answer"):
        temper(["up", "--only", "kafka"], standalone_mode=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TEMPER_EDGE_PORT", "many"),
        ("TEMPER_CHUNK_TOKENS", "3"),
        ("TEMPER_JUDGE_SECONDS", "0"),
        ("TEMPER_MLFLOW_URL", "http://me:hunter2@mlflow"),
    ],
)
@pytest.mark.parametrize("command", [("up",), ("run", "worker")])
def test_a_wrong_setting_is_named_before_anything_starts(
    tmp_path: Path, command: tuple[str, ...], name: str, value: str
) -> None:
    stores = {"KAFKA_BOOTSTRAP": "127.0.0.1:1", "MONGO_URL": "mongodb://127.0.0.1:1", "S3_URL": "http://127.0.0.1:1"}
    keys = {"S3_ACCESS_KEY": "a", "S3_SECRET_KEY": "b", "SIGNING_KEY": "c", "INFERENCE_URL": "http://127.0.0.1:1"}
    given = {f"TEMPER_{each}": text for each, text in {**stores, **keys}.items()} if command != ("up",) else {}
    done = run(tmp_path, *command, **{**given, name: value})
    assert done.returncode == 1
    assert f"error: The setting {name} is not valid" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


def test_a_broken_record_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{")
    done = run(tmp_path, "status")
    assert done.returncode == 1
    assert "Remove it" in done.stderr


def test_all_parts_start_when_none_is_named() -> None:
    assert parts_to_start(AskedSettings(), ()) == PARTS


def test_a_given_server_is_not_started() -> None:
    assert parts_to_start(AskedSettings(mongo_url="mongodb://db/"), SERVERS) == ("kafka", "minio")


def test_an_unknown_part_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"no part called 'kafak'.*Known are kafka, mongo"):
        parts_to_start(AskedSettings(), ("kafak",))


def test_a_role_without_its_servers_is_refused() -> None:
    with pytest.raises(UserError, match=r"need mongo\. Add it to --only, or set TEMPER_MONGO_URL"):
        parts_to_start(AskedSettings(), ("edge", "kafka", "minio"))


def test_a_password_in_an_address_is_not_shown() -> None:
    assert without_password("mongodb://me:pass@db:1/?x=1") == "mongodb://db:1/?x=1"
    assert without_password("broker:9092") == "broker:9092"
