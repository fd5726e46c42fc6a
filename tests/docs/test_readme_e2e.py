"""The snippets of README and reference against the whole stack: a job by the client, two from other systems."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.docs.readme import blocks, snippet
from tests.e2e.test_documents import archive
from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
SEEN_WITHIN = 60.0
N_EPOCHS = 2
"""Instead of the README's nine: enough to end with a model that answers."""


@pytest.fixture
def client(stack: Stack) -> Iterator[OpenAI]:
    """Who looks at what came of it."""
    with OpenAI(base_url=stack.base_url, api_key=stack.api_key) as client:
        yield client


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """The row that the README shows, twelve times over with other numbers."""
    (shown,) = blocks("jsonl")
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(shown.replace("7", str(number)) for number in range(12)))
    return file


def test_the_readmes_client_tunes_a_model_that_answers(stack: Stack, client: OpenAI, rows: Path) -> None:
    code = snippet("client").replace('{"n_epochs": 9}', json.dumps({"n_epochs": N_EPOCHS}))
    assert code != snippet("client")
    before = {job.id for job in client.fine_tuning.jobs.list()}
    done = run(stack, code, rows.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n")
    mine = [job for job in client.fine_tuning.jobs.list() if job.id not in before]
    assert [(job.status, job.hyperparameters.n_epochs) for job in mine] == [("succeeded", N_EPOCHS)]


def test_the_readmes_own_client_tunes_benchmarks_and_takes_the_model_away(stack: Stack, rows: Path) -> None:
    code = snippet("typed").replace('{"n_epochs": 9}', json.dumps({"n_epochs": N_EPOCHS}))
    assert code != snippet("typed")
    done = run(stack, code, rows.parent)
    assert done.returncode == 0, done.stderr
    loss, sentence, paths = done.stdout.splitlines()[-3:]
    assert float(loss) > 0
    assert sentence.endswith(".")
    assert "adapter_model.safetensors" in paths
    assert (rows.parent / "model" / "adapter_config.json").exists()


def test_the_readmes_documents_become_rows_that_name_their_place(stack: Stack, client: OpenAI, tmp_path: Path) -> None:
    (tmp_path / "handbook.zip").write_bytes(archive(11))
    before = {job.id for job in client.fine_tuning.jobs.list()}
    done = run(stack, snippet("documents"), tmp_path)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()[-3:]
    assert [line.split()[0] for line in shown] == ["train-1", "train-2", "train-3"]
    assert all("'sha256'" in line and "'chunk'" in line for line in shown)
    (mine,) = [job for job in client.fine_tuning.jobs.list() if job.id not in before]
    client.fine_tuning.jobs.cancel(mine.id)
    assert client.files.delete(mine.training_file).deleted


def test_the_readmes_publisher_makes_a_job_that_the_api_shows(stack: Stack, client: OpenAI, rows: Path) -> None:
    file = client.files.create(file=rows, purpose="fine-tune")
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(snippet("publish"), "README.md", "exec"), names)
    message = names["wanted"](file.id)
    asyncio.run(names["publish"](stack.settings.kafka_bootstrap, message))
    job = seen(client, message.key)
    assert (job.training_file, job.user_provided_suffix) == (file.id, "crm")
    stop(client, job)


def test_the_readmes_event_by_hand_makes_a_job_that_the_api_shows(stack: Stack, client: OpenAI, rows: Path) -> None:
    file = client.files.create(file=rows, purpose="fine-tune")
    (line,) = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("temper emit")]
    command = [sys.executable, "-m", "infra.cli.main", *shlex.split(line.replace("file-…", file.id))[1:]]
    env = {**os.environ, "TEMPER_HOME": str(stack.home)}
    said = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True).stdout
    job = seen(client, json.loads(said)["subject"])
    assert job.training_file == file.id
    stop(client, job)


def stop(client: OpenAI, job: Any) -> None:
    """Nobody waits for the job."""
    if job.status not in ("succeeded", "failed", "cancelled"):
        assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"


def run(stack: Stack, code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a snippet as a reader does: in a folder with its file, with the two variables of `temper env`."""
    env = {"OPENAI_BASE_URL": stack.base_url, "OPENAI_API_KEY": stack.api_key, "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=280, check=False)


def seen(client: OpenAI, id: str) -> Any:
    """The job, as soon as the API knows it."""
    until = time.monotonic() + SEEN_WITHIN
    while True:
        try:
            return client.fine_tuning.jobs.retrieve(id)
        except openai.NotFoundError:
            assert time.monotonic() < until, f"{id} was published and is not shown"
            time.sleep(0.1)
