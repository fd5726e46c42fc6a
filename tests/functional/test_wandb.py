"""Weights & Biases' own client, offline: a run is written, and the key that came with it is in no file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infra.adapters.child import ProcessChild

CANARY = "c0ffee" * 6 + "beef"


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
    running = ProcessChild().start("functions.track_runs.wandb_run", path)
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


async def test_what_the_client_cannot_do_is_one_sentence_without_the_key(tmp_path: Path) -> None:
    said = await told(tmp_path, "offline", tags=["x" * 65])
    assert not said["again"]
    assert CANARY not in said["error"]
