"""Weights & Biases' own client, offline: a run is written, and the key that came with it is in no file."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from contracts.envelope import PoisonError
from contracts.events import Payload
from contracts.events.jobs import Integration, JobCancelled, JobCreated, JobFailed, JobQueued, Wandb
from contracts.ports import UnavailableError
from contracts.tracking import WANDB, wandb_secret
from functions.track_wandb.handler import WandbPorts, on_wandb
from functions.track_wandb.telling import tell
from infra.children.child import ProcessChild
from tests.functional.edge import BASE, World, plan

CANARY = "c0ffee" * 6 + "beef"
JOB = "ftjob-1"


async def told(tmp_path: Path, mode: str, **more: Any) -> dict[str, Any]:
    """What the child says of a run of three steps."""
    steps, folder = tmp_path / "steps.jsonl", tmp_path / "wandb"
    folder.mkdir(exist_ok=True)
    steps.write_text("".join(json.dumps({"step": n, "metrics": {"train_loss": 3.0 - n}}) + "\n" for n in range(3)))
    spec = {
        "mode": mode, "folder": str(folder), "id": "run1", "project": "pumps", "entity": None, "name": "first",
        "tags": ["a"], "config": {"n_epochs": "3"}, "succeeded": True, "steps": str(steps), **more,
    }  # fmt: skip
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec))
    running = ProcessChild().start("functions.track_wandb.wandb_run", path)
    await running.say(CANARY)
    said = [line async for line in running.lines()]
    assert await running.stop() == int("error" in said[-1]), running.stderr()
    return said[-1]


async def test_a_run_is_written_offline_and_the_key_is_in_no_file(tmp_path: Path) -> None:
    said = await told(tmp_path, "offline")
    assert said["run_id"] == "run1"
    (written,) = (tmp_path / "wandb").rglob("run-run1.wandb")
    content = written.read_bytes()
    assert b"train_loss" in content
    assert b"pumps" in content
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]


async def test_no_program_but_its_own_service_is_started_with_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git, started = tmp_path / "bin" / "git", tmp_path / "started"
    git.parent.mkdir()
    git.write_text(f'#!/bin/sh\necho "$@" >> {started}\n')
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{git.parent}:{os.environ['PATH']}")
    await told(tmp_path, "offline")
    assert not started.exists(), started.read_text()


async def test_what_the_client_cannot_do_is_one_sentence_without_the_key(tmp_path: Path) -> None:
    said = await told(tmp_path, "offline", tags=["x" * 65])
    assert not said["again"]
    assert CANARY not in said["error"]


class Client:
    """The Child port: Weights & Biases' client that answers so, or ends without a word."""

    def __init__(self, said: dict[str, Any] | None) -> None:
        self.said, self.keys = said, list[str]()

    def start(self, _module: str, _argument: Path) -> Client:
        return self

    async def say(self, line: str) -> None:
        self.keys.append(line)

    async def lines(self) -> AsyncIterator[dict[str, Any]]:
        if self.said is not None:
            yield self.said

    async def stop(self) -> int:
        return 0

    def stderr(self) -> str:
        return f"no such key: {self.keys}"


async def test_a_client_that_ends_without_a_word_is_logged_without_the_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client: Any = Client(None)
    with pytest.raises(UnavailableError, match="without a word"):
        await tell(client, tmp_path / "run", {}, [], CANARY)
    assert client.keys == [CANARY]
    assert "no such key" in caplog.text
    assert CANARY not in caplog.text


@dataclass
class Ended:
    """A job that asked for Weights & Biases with a key of its own, and has ended."""

    folder: Path
    said: dict[str, Any] = field(default_factory=lambda: {"run_id": "r", "url": ""})
    world: World = field(default_factory=World)

    async def on(self, ending: Payload, planned: bool) -> list[str]:
        """Tell of the ending; returns the keys that the client was handed."""
        asked = Integration(type="wandb", wandb=Wandb(project="pumps"))
        await self.world.say(JobCreated(model=BASE, training_file="file-1", integrations=(asked,)), JOB, "acme")
        if planned:
            await self.world.say(JobQueued(plan=plan()), JOB, "acme")
        event = await self.world.say(ending, JOB, "acme")
        for name in (wandb_secret(JOB), WANDB):
            await self.world.secrets.put("acme", name, f"key of {name}")
        client: Any = Client(self.said)
        deps = WandbPorts(
            self.world.documents, self.world.secrets, self.world.emit, client, self.folder, {"mode": "online"}
        )
        try:
            await on_wandb(event, deps)
        finally:
            self.kept = [name for _, name in self.world.secrets.kept]
        return client.keys


async def test_the_key_of_a_job_that_ends_before_it_has_a_plan_is_forgotten(tmp_path: Path) -> None:
    ended = Ended(tmp_path)
    assert await ended.on(JobFailed(code="invalid_training_file", message="m"), planned=False) == []
    assert ended.kept == [WANDB]


async def test_a_key_that_is_refused_is_forgotten_and_the_tenants_own_is_not_used_in_its_place(tmp_path: Path) -> None:
    ended = Ended(tmp_path, {"error": "AuthenticationError: no", "again": False})
    with pytest.raises(PoisonError, match="was not told: AuthenticationError"):
        await ended.on(JobCancelled(), planned=True)
    assert ended.kept == [WANDB]


async def test_a_key_is_kept_while_weights_and_biases_is_away_and_forgotten_once_it_was_told(tmp_path: Path) -> None:
    ended = Ended(tmp_path, {"error": "CommError: away", "again": True})
    with pytest.raises(UnavailableError):
        await ended.on(JobCancelled(), planned=True)
    assert ended.kept == [wandb_secret(JOB), WANDB]
    ended = Ended(tmp_path)
    assert await ended.on(JobCancelled(), planned=True) == [f"key of {wandb_secret(JOB)}"]
    assert ended.kept == [WANDB]
