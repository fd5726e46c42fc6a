"""Settings: the environment, then the running stack of the home; and what each process is given of them."""

import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from contracts.events.corpus import Writer
from functions.assemble_dataset.core import RowSettings
from functions.assemble_dataset.function import row_settings
from functions.assemble_dataset.settings import DatasetSettings
from functions.chunk_text.settings import ChunkSettings
from functions.synthesize_examples.generators import Generators
from functions.synthesize_examples.settings import GeneratorSettings, endpoints
from infra.adapters.http.generator import HttpGenerate
from infra.local.errors import UserError
from infra.local.files import write_json
from infra.local.record import Stack, born, write_stack
from infra.local.roles import ROLES, plain_env, processes, role_env
from infra.runtime.dispatch import placed
from infra.runtime.functions import of_role
from infra.runtime.hosting import host
from infra.settings import AskedSettings, Settings, of_function


def generators() -> Generators:
    """Who writes questions, as the environment says."""
    nothing: Any = None
    return Generators(of_function(GeneratorSettings), HttpGenerate, None, nothing)


def record(home: Path, state: str) -> None:
    """Leave the record of a stack in a home."""
    addresses: dict[str, str | int] = {"kafka_bootstrap": "127.0.0.1:19092", "edge_port": 8000}
    stack = Stack.model_validate(
        {
            "state": state,
            "pid": os.getpid(),
            "born": born(os.getpid()),
            "started_at": time.time(),
            "settings": addresses,
            "ports": {},
            "processes": {},
        }
    )
    write_stack(home, stack)
    write_json(home / "secrets.json", {"signing_key": "recorded"})


def test_a_running_stack_is_found_by_its_home(tmp_path: Path) -> None:
    record(tmp_path, "ready")
    settings = Settings(home=tmp_path)
    assert settings.kafka_bootstrap == "127.0.0.1:19092"
    assert settings.edge_port == 8000
    assert settings.signing_key == SecretStr("recorded")


def test_the_home_may_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path, "ready")
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path))
    assert Settings().kafka_bootstrap == "127.0.0.1:19092"


def test_the_environment_wins_over_the_running_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path, "ready")
    monkeypatch.setenv("TEMPER_KAFKA_BOOTSTRAP", "broker:9092")
    assert Settings(home=tmp_path).kafka_bootstrap == "broker:9092"


def test_a_stack_that_is_down_says_nothing(tmp_path: Path) -> None:
    record(tmp_path, "down")
    assert Settings(home=tmp_path).kafka_bootstrap is None


def test_a_new_start_does_not_take_the_last_one_for_a_server_elsewhere(tmp_path: Path) -> None:
    record(tmp_path, "ready")
    assert AskedSettings(home=tmp_path).kafka_bootstrap is None


def test_no_unsigned_tenant_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPER_UNSIGNED_TENANT", "none")
    assert AskedSettings().unsigned_tenant is None


def test_a_secret_is_given_only_to_who_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPER_SIGNING_KEY", "sign-me")
    monkeypatch.setenv("TEMPER_S3_SECRET_KEY", "store-me")
    settings = AskedSettings()
    assert "sign-me" not in role_env(ROLES["serving"], settings, 8001).values()
    assert role_env(ROLES["edge"], settings, 8000)["TEMPER_SIGNING_KEY"] == "sign-me"
    assert not {"sign-me", "store-me"} & set(plain_env().values())


def test_each_role_is_told_its_port() -> None:
    told = {
        name: role_env(role, AskedSettings(), 9)[f"TEMPER_{role.port_setting.upper()}"] for name, role in ROLES.items()
    }
    assert told == {"serving": "9", "worker": "9", "trainer": "9", "edge": "9"}


def test_secrets_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    record(tmp_path, "ready")
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_how_rows_are_put_together_reaches_the_worker_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "ROW_VARIANTS": 1,
        "HARD_DISTRACTORS": 3,
        "RANDOM_DISTRACTORS": 0,
        "CONTEXT_TOKENS": 99,
        "SHOWN_HEADINGS": 2,
    }
    shares = {"ABSENT_SHARE": 0.25, "MIN_COVERAGE": 0.75}
    for name, value in {**given, **shares}.items():
        monkeypatch.setenv(f"TEMPER_{name}", str(value))
    for name, text in role_env(ROLES["worker"], AskedSettings(), 9).items():
        monkeypatch.setenv(name, text)
    assert row_settings(of_function(DatasetSettings)) == RowSettings(
        variants=1,
        hard=3,
        random=0,
        context_tokens=99,
        headings=2,
        absent_share=0.25,
        min_coverage=0.75,
        coverage_required=True,
    )


def test_what_a_request_says_of_a_data_set_goes_before_what_is_set() -> None:
    settings = DatasetSettings(absent_share=0.25, random_distractors=1)
    asked = {"absent_share": 0.5, "distractors": 5, "min_coverage": 0.1, "held_out": 0.2}
    assert row_settings(settings, asked=asked) == RowSettings(
        absent_share=0.5, hard=4, random=1, min_coverage=0.1, coverage_required=True
    )
    assert row_settings(settings, asked={"distractors": 0}) == RowSettings(absent_share=0.25, hard=0, random=0)


def test_no_tracking_is_no_tracking_although_a_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPER_TRACKING", "none")
    monkeypatch.setenv("TEMPER_MLFLOW_URL", "http://mlflow:5000")
    told = role_env(ROLES["worker"], AskedSettings(), 9)
    assert (told["TEMPER_TRACKING"], told["TEMPER_MLFLOW_URL"]) == ("none", "http://mlflow:5000")


def test_a_role_is_given_the_settings_of_its_functions_and_of_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPER_JUDGE_KEY", "judge-me")
    monkeypatch.setenv("TEMPER_DETERMINISTIC", "true")
    told = {name: role_env(role, AskedSettings(), 9) for name, role in ROLES.items()}
    assert {name for name, env in told.items() if "judge-me" in env.values()} == {"worker"}
    assert {name for name, env in told.items() if env.get("TEMPER_DETERMINISTIC") == "True"} == {"trainer"}
    for name, env in told.items():
        wanted = {field for each in of_role(name) for field in each.settings.model_fields}
        unset = {field for each in of_role(name) for field, value in of_function(each.settings) if value is None}
        assert {f"TEMPER_{field.upper()}" for field in wanted - unset} <= env.keys()


def test_rows_are_put_together_as_the_function_would_by_itself_where_nothing_is_set() -> None:
    assert row_settings(of_function(DatasetSettings)) == RowSettings()


def test_tenants_may_have_an_endpoint_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "generators.json"
    file.write_text('{"acme": {"url": "http://acme:8000/v1", "model": "big", "key": "sk-acme"}}')
    monkeypatch.setenv("TEMPER_GENERATORS_FILE", str(file))
    monkeypatch.setenv("TEMPER_GENERATOR_URL", "http://all:8000/v1")
    monkeypatch.setenv("TEMPER_GENERATOR_MODEL", "small")
    found = generators()
    assert who(found, "acme") == ["tenant_endpoint big", "server_endpoint small", "base tiny", "rules"]
    assert who(found, "local") == ["server_endpoint small", "base tiny", "rules"]
    assert who(found, "acme", "endpoint") == ["tenant_endpoint big"]
    assert who(found, "local", ("endpoint", "extractive")) == ["server_endpoint small", "rules"]
    assert who(found, "local", ("tenant_endpoint", "base")) == ["base tiny"]
    assert who(found, "acme", ("base", "extractive", "endpoint")) == ["base tiny", "rules"]
    assert who(found, "acme", "extractive") == ["rules"]
    assert found.places.per_tenant < found.places.at_once
    assert "sk-acme" not in repr(endpoints(file))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"acme": {"url": "http://acme/v1", "model": "big", "secret": "x"}}', "acme → secret"),
        ('{"acme": {"url": "http://acme/v1"}}', "acme → model"),
        ("[]", "must hold"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_mistake_in_the_file_of_endpoints_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, message: str
) -> None:
    file = tmp_path / "generators.json"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("TEMPER_GENERATORS_FILE", str(file))
    with pytest.raises(ValidationError, match=message):
        of_function(GeneratorSettings)


def test_without_an_endpoint_the_target_model_is_tried_and_rules_write(monkeypatch: pytest.MonkeyPatch) -> None:
    assert who(generators(), "local") == ["base tiny", "rules"]
    assert who(generators(), "local", "endpoint") == []
    monkeypatch.setenv("TEMPER_BASE_PROBE_SECONDS", "0")
    assert who(generators(), "local") == ["rules"]
    assert who(generators(), "local", "base") == ["base tiny"]
    one = generators()
    assert one.chain("local", "file-1", None).lock is not one.chain("local", "file-2", None).lock
    held = one.chain("local", "file-1", None)
    assert held.lock is one.chain("local", "file-1", None).lock


def who(found: Generators, tenant: str, asked: Writer | Sequence[Writer] | None = None) -> list[str]:
    """Return who may write, in order."""
    chain = found.chain(tenant, "file-1", HttpGenerate("http://127.0.0.1:1/v1", "tiny"), asked)
    return [f"{each.writer} {each.generate.model}" for each in chain.authors] + ["rules"] * chain.rules


@pytest.mark.parametrize("endpoint", [None, "http://all:8000/v1"])
def test_no_tenant_can_hold_every_place_of_a_stage(monkeypatch: pytest.MonkeyPatch, endpoint: str | None) -> None:
    if endpoint:
        monkeypatch.setenv("TEMPER_GENERATOR_URL", endpoint)
        monkeypatch.setenv("TEMPER_GENERATOR_MODEL", "small")
    monkeypatch.setenv("TEMPER_INFERENCE_URL", "http://127.0.0.1:1")
    ports = dict.fromkeys(("documents", "controls", "emit", "blobs", "secrets", "db"))
    here: Any = SimpleNamespace(**ports, settings=AskedSettings())
    nothing: Any = None
    functions = host(here, of_role("worker"), nothing, nothing).functions
    there = [each for function in functions for each in placed(function)]
    assert {"validate", "prepare", "benchmark"} < {each.stage.name for each in there}
    for name, count in Counter(each.stage.name for each in there).items():
        limits = {each.per_tenant for each in there if each.stage.name == name}
        assert len(limits) == 1
        assert all(limit is not None and limit < count for limit in limits), name


def test_an_overlap_as_large_as_a_chunk_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPER_CHUNK_TOKENS", "40")
    monkeypatch.setenv("TEMPER_CHUNK_OVERLAP", "40")
    with pytest.raises(ValidationError, match="TEMPER_CHUNK_TOKENS"):
        of_function(ChunkSettings)


def test_workers_by_their_functions_run_each_of_them_and_no_other() -> None:
    names = [each.name for each in of_role("worker")]
    made = processes(ROLES["worker"], f"{','.join(names[:3])} ; {','.join(names[3:])};")
    assert [each.called for each in made] == ["worker", "worker-2"]
    assert [name for each in made for name in each.functions] == names
    assert processes(ROLES["worker"], "") == (ROLES["worker"],)
    assert processes(ROLES["trainer"], "validate_file") == (ROLES["trainer"],)
    with pytest.raises(UserError, match=f"{names[0]} is in no group, file_validate is no function of the worker"):
        processes(ROLES["worker"], f"{','.join(names[1:])};file_validate")
