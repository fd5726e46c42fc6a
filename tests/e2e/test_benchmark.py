"""P4: base and tuned are asked the same on the stack; kill -9 on the way asks nothing twice; the report says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from contracts.benchmarks import Item, Result
from tests.e2e import support
from tests.e2e.support import User
from tests.e2e.test_documents import archive, checked
from tests.e2e.test_generator import rows
from tests.functional.benchmarking import plain
from tests.sizes import FULL, sized
from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]


def ended(user: User, id: str) -> dict[str, Any] | None:
    """Return a benchmark that has ended."""
    answer = user.get(f"/benchmarks/{id}")
    if answer.status_code == 503:
        return None  # a worker that was killed comes back: the read models catch up with the log
    found: dict[str, Any] = answer.raise_for_status().json()
    return found if found["status"] not in ("queued", "running") else None


@pytest.fixture(scope="module")
def file(user: User) -> str:
    """Documents that have become rows, of which enough are held out that some of them got questions."""
    asked = {"dataset": {"held_out": 0.3}}
    content = ("handbook.zip", archive(6))
    made = user.client.files.create(file=content, purpose="fine-tune", extra_body=asked).id
    checked(user, made)
    splits = user.get(f"/files/{made}/report").json()["splits"]
    assert splits["held_out"]["answered"], splits
    return made


def test_a_grid_survives_kill_9_and_no_item_is_scored_twice(
    user: User, stack: Stack, file: str, tmp_path: Path
) -> None:
    job = user.job(file, batch_size=8)
    user.wait(job, "succeeded")
    chunks = [2, 3, 4] if FULL else [2, 3]
    lengths = [256, 512, 1024] if FULL else [256, 512]
    positions = [0, 0.5, 1] if FULL else [0, 1]
    grid = {"chunks": chunks, "positions": positions, "lengths": lengths, "per_cell": sized(1, 2)}
    tasks = ["documents", "trained", "closed_book", "needle"]
    asked = {"tasks": tasks, "grid": grid, "items": sized(12, 30), "judge": "none"}
    made = user.post(f"/fine_tuning/jobs/{job}/benchmarks", asked)

    def begun() -> bool:
        found = user.get(f"/benchmarks/{made['id']}").json()["progress"]
        return bool(found["answered"])

    support.until(begun, "the first answers", every=0.02)
    before = stack.process("worker").restarts
    stack.kill("worker", signal.SIGKILL)
    support.restarted(stack, "worker", before)
    done = support.until(lambda: ended(user, made["id"]), f"the end of {made['id']}")
    assert done["status"] == "completed", done
    result = Result.model_validate(user.get(f"/benchmarks/{made['id']}/result").json())
    found = {task.name: task for task in result.tasks}
    assert {"documents", "no_context", "trained", "closed_book", "needle", "needle_absent"} <= set(found)
    lines = user.get(f"/benchmarks/{made['id']}/items").text.splitlines()
    items = [Item.model_validate(json.loads(line)) for line in lines]
    assert not [id for id, count in Counter(item.id for item in items).items() if count > 1]
    assert done["progress"]["total"] == 2 * len(items)
    cells = [cell for cell in found["needle"].cells if len(cell.by) == 4]
    assert {cell.by["chunks"] for cell in cells} == set(chunks)
    assert {cell.by["length"] for cell in cells} == set(lengths)
    assert {cell.by["distractors"] for cell in cells} == {"random", "hard"}
    assert result.losses, "the job's own losses are there to draw"
    bare = found["no_context"].scores["tuned"].estimate
    assert bare is not None
    assert bare.value <= 0.2, "nobody knows a held-out section by heart"
    page = user.get(f"/benchmarks/{made['id']}/report").text
    assert result.sentence in plain(page)
    assert len(page.encode()) < 2 * 2**20
    command = [sys.executable, "-m", "infra.cli.main", "report", job, "--out", str(tmp_path / "report.html")]
    home = {**os.environ, "TEMPER_HOME": str(stack.home)}
    said = subprocess.run(command, env=home, capture_output=True, text=True, check=True).stdout
    assert result.sentence in " ".join(said.split())
    assert (tmp_path / "report.html").read_text() == page
    events = support.about(support.log_of(stack), made["id"])
    assert len({event.id for event in events if event.type == "benchmark.completed"}) == 1


def test_a_model_tuned_on_shuffled_answers_is_not_called_better(user: User, file: str) -> None:
    trained = [row["messages"] for row in rows(user, file)]
    answers = [messages[-1]["content"] for messages in trained]
    Random(1).shuffle(answers)
    wrong = [
        {"messages": [*messages[:-1], {"role": "assistant", "content": answer}]}
        for messages, answer in zip(trained, answers, strict=True)
    ]
    job = user.job(user.upload("\n".join(map(json.dumps, wrong)).encode()), n_epochs=1, batch_size=8)
    model = user.wait(job, "succeeded").fine_tuned_model
    asked = {"model": model, "file": file, "tasks": ["documents"], "judge": "none"}
    made = user.post("/benchmarks", asked)
    done = support.until(lambda: ended(user, made["id"]), f"the end of {made['id']}")
    assert done["status"] == "completed", done
    assert done["verdict"] in ("worse", "no_difference"), done["sentence"]
    print(f"tuned on shuffled answers: {done['sentence']}")
