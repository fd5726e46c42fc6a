"""Tasks of the LM Evaluation Harness: lm-eval's own scores, kept through a kill, in process and over HTTP."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import torch
from lm_eval.models.huggingface import HFLM
from transformers import AutoTokenizer

from contracts.benchmarks import TaskResult
from functions.benchmark_model.harness.fast_path import Direct, Request, doubtful
from functions.benchmark_model.harness.journal import Journal
from functions.benchmark_model.work import HARNESS
from functions.generate_text.app import create_app
from infra.adapters.memory import MemoryBlobs
from infra.children.child import ProcessChild
from infra.runtime.functions import declared, preloads
from tests.bundle import build
from tests.functional.test_generate_text import served
from tests.sizes import sized
from tests.unit.generate_text.tiny import build_adapter, store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
one_loop = pytest.mark.asyncio(loop_scope="module")
ROOT = Path(__file__).parents[2]
BASE = ROOT / "infra" / "demo" / "base"
ROWS = 8
TASKS = ("mmlu_abstract_algebra", "mmlu_care_of_kettles", "hellaswag", "arc_challenge", "gpqa")
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("bundle"), ROWS)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_adapter(tmp_path_factory.mktemp("adapter"), BASE, 1, std=0.05)


def spec(folder: Path, bundle: Path, **changes: Any) -> Path:
    """Write a spec that asks the demo base the bundle's tasks."""
    content = {
        "bundle": str(bundle),
        "tasks": TASKS,
        "sides": {"base": {"identity": "base", "model": str(BASE)}},
        "folder": str(folder / "state"),
        **changes,
    }
    path = folder / "spec.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def child() -> AsyncIterator[ProcessChild]:
    """Processes as in operation: forked from one that has imported lm-eval."""
    child = ProcessChild(threads=1, forked={HARNESS: preloads(declared().values())[HARNESS]})
    yield child
    await child.close()


async def ask(child: ProcessChild, path: Path) -> dict[str, Any]:
    """Run a spec to its end; returns the last line."""
    ended = await child.run(HARNESS, path)
    assert ended.stdout, ended.stderr
    last: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    assert ended.code == ("error" in last)
    return last


def lm_eval(state: Path, model_args: str) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """What lm-eval's command line says of the same YAMLs: means and samples by task."""
    out = state.parent / "cli"
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args", model_args]
    command += ["--tasks", ",".join(TASKS), "--include_path", str(state / "tasks"), "--device", "cpu"]
    command += ["--batch_size", "16", "--output_path", str(out), "--log_samples"]
    environment = {**ENVIRONMENT, "HF_DATASETS_CACHE": str(state.parent / "cli_datasets")}
    said = subprocess.run(command, env=environment, cwd=state.parent, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr[-3000:]
    (results,) = out.rglob("results_*.json")
    samples = {}
    for task in TASKS:
        (path,) = out.rglob(f"samples_{task}_*.jsonl")
        samples[task] = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return json.loads(results.read_text("utf-8"))["results"], samples


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asked(
    child: ProcessChild, tmp_path_factory: pytest.TempPathFactory, bundle: Path, adapter: Path
) -> tuple[Path, dict[str, Any]]:
    """Base and tuned through the child."""
    sides = {
        "base": {"identity": "base", "model": str(BASE)},
        "tuned": {"identity": "tuned", "model": str(BASE), "adapter": str(adapter)},
    }
    path = spec(tmp_path_factory.mktemp("asked"), bundle, sides=sides)
    return path.parent / "state", (await ask(child, path))["result"]


@pytest.mark.parametrize("side", ["tuned", "base"][: sized(1, 2)])
@one_loop
async def test_scores_are_those_of_lm_evals_command_line_to_the_last_digit(
    side: str, asked: tuple[Path, dict[str, Any]], adapter: Path, tmp_path: Path
) -> None:
    state, result = asked
    copied = tmp_path / "state"
    (copied / "tasks").mkdir(parents=True)
    for path in (state / "tasks").iterdir():
        (copied / "tasks" / path.name).write_text(path.read_text("utf-8"), "utf-8")
    peft = f",peft={adapter}" if side == "tuned" else ""
    means, samples = lm_eval(copied, f"pretrained={BASE}{peft}")
    for task in result["tasks"]:
        theirs = {name.removesuffix(",none"): value for name, value in means[task["task"]].items() if "acc" in name}
        assert task["metrics"][side] == {name: value for name, value in theirs.items() if "stderr" not in name}
        ours = json.loads((state / "results" / f"{task['task']}.{side}.json").read_text("utf-8"))["samples"]
        each = sorted(samples[task["task"]], key=lambda sample: sample["doc_id"])
        assert [row["scores"]["acc"] for row in ours] == [sample["acc"] for sample in each]
        assert [row["scores"].get("acc_norm") for row in ours] == [sample.get("acc_norm") for sample in each]
    assert {task["items"] for task in result["tasks"]} == {ROWS}


@one_loop
async def test_items_hold_question_choice_and_scores_of_both_sides(asked: tuple[Path, dict[str, Any]]) -> None:
    state, result = asked
    told = json.loads((state / "harness.json").read_text("utf-8"))
    items = told["items"]
    assert len(items) == len({item["id"] for item in items}) == ROWS * len(TASKS)
    letters = [item for item in items if item["by"].get("subject") == "care_of_kettles"]
    assert all(item["task"] == "mmlu" and item["answer"] in "ABCD" for item in letters)
    assert all(item["question"].startswith("Where does the") for item in letters)
    for item in items:
        for side in ("base", "tuned"):
            assert item["scores"][side]["acc"] == (item["said"][side] == item["answer"])
    tables = {table["name"]: TaskResult.model_validate(table) for table in told["tasks"]}
    assert [(table.name, table.kind) for table in tables.values()] == [
        (name, "lm_eval") for name in ("arc_challenge", "gpqa", "hellaswag", "mmlu")
    ]
    for task in result["tasks"]:
        if task["task"] in tables:
            table = tables[task["task"]]
            for side, score in table.scores.items():
                assert score.n == ROWS
                assert score.estimate is not None
                assert score.estimate.value == task["metrics"][side][table.metric]
    assert {cell.by["subject"] for cell in tables["mmlu"].cells} == {"abstract_algebra", "care_of_kettles"}
    assert all(table.scorer.startswith("lm-eval 0.4") for table in tables.values())


@one_loop
async def test_a_killed_run_goes_on_and_says_the_same(child: ProcessChild, bundle: Path, tmp_path: Path) -> None:
    tasks = ["hellaswag", "mmlu"]
    whole, cut = (spec(tmp_path / name, bundle, tasks=tasks, batch_size=1) for name in ("whole", "cut"))
    journal = cut.parent / "state" / "journal" / "hellaswag.base.jsonl"
    running = child.start(HARNESS, cut)
    async with asyncio.timeout(300):
        while not journal.exists() or journal.read_bytes().count(b"\n") < 10:
            await asyncio.sleep(0.01)
    assert await running.stop() == -signal.SIGKILL
    before = journal.read_bytes()
    before = before[: before.rindex(b"\n") + 1]
    assert not (cut.parent / "state" / "results" / "hellaswag.base.json").exists()
    journal.write_bytes(before + b'{"batch": "torn')  # as if it had been writing

    assert await ask(child, cut) == await ask(child, whole)
    after = journal.read_bytes()
    assert after.startswith(before)
    assert len(after) > len(before)
    batches = [json.loads(line)["batch"] for line in after.splitlines()[1:]]
    assert len(batches) == len(set(batches)) == ROWS * 4
    for name in ("harness.json", "results/hellaswag.base.json", "results/mmlu_abstract_algebra.base.json"):
        assert (cut.parent / "state" / name).read_bytes() == (whole.parent / "state" / name).read_bytes()


@one_loop
async def test_what_is_answered_is_not_asked_again(child: ProcessChild, asked: tuple[Path, dict[str, Any]]) -> None:
    state, result = asked
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (state / "journal").iterdir()}
    assert (await ask(child, state.parent / "spec.json"))["result"] == result
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (state / "journal").iterdir()}


@one_loop
async def test_a_task_that_is_not_there_is_named(child: ProcessChild, bundle: Path, tmp_path: Path) -> None:
    assert "'trivia'" in (await ask(child, spec(tmp_path, bundle, tasks=["trivia"])))["error"]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.jsonl", "x") as journal:
        yield journal


def short(lm: Direct, choices: Sequence[str]) -> list[Request]:
    prompts = [f"All of these begin alike.{' Some words before.' * (n % 7)} Which, {n}?\nAnswer:" for n in range(40)]
    return [((text, f" {choice}"), *lm._encode_pair(text, f" {choice}")) for text in prompts for choice in choices]


@pytest.mark.parametrize("letters", ["ABCD", ("(A)", "(B)", "(C)", "(D)"), ("yes", "no")])
def test_short_choices_score_at_their_positions_what_they_score_at_all_of_them(
    letters: Sequence[str], journal: Journal, tmp_path: Path
) -> None:
    lm = Direct(pretrained=str(BASE), device="cpu", batch_size=16)
    lm.journal = journal
    requests = short(lm, letters)
    ours = lm._loglikelihood_tokens(requests)
    with Journal(tmp_path / "other.jsonl", "x") as lm.journal:
        lm.direct = False
        theirs = lm._loglikelihood_tokens(requests)
    assert theirs == HFLM._loglikelihood_tokens(lm, requests, disable_tqdm=True)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]
    number = len(letters)
    for at in range(0, len(requests), number):
        a, b = ([value for value, _ in said[at : at + number]] for said in (ours, theirs))
        assert a.index(max(a)) == b.index(max(b))
    told = lm._last(requests)
    assert not doubtful(requests, dict(enumerate(told)))
    for (a, _), (b, _), (_, _, doubt) in zip(ours, theirs, told, strict=True):
        assert abs(a - b) < doubt / 4 < 1e-3


def test_choices_that_lie_too_close_are_asked_in_lm_evals_way(journal: Journal) -> None:
    lm = Direct(pretrained=str(BASE), device="cpu", batch_size=16)
    lm.journal = journal
    with torch.no_grad():
        lm.model.get_output_embeddings().weight.zero_()
    requests = short(lm, "ABCD")[:16]
    assert doubtful(requests, dict(enumerate(lm._last(requests)))) == set(range(16))
    assert lm._loglikelihood_tokens(requests) == HFLM._loglikelihood_tokens(lm, requests, disable_tqdm=True)


@one_loop
async def test_scores_over_http_are_those_in_process(
    child: ProcessChild, asked: tuple[Path, dict[str, Any]], bundle: Path, tmp_path: Path
) -> None:
    state, result = asked
    blobs = MemoryBlobs()
    template = AutoTokenizer.from_pretrained(BASE).chat_template
    pinned = {"template_sha256": hashlib.sha256(template.encode()).hexdigest(), "context": 2048}
    ref = await store(blobs, "local/base", BASE, **pinned)
    side = {
        "identity": "base",
        "model": str(BASE),
        "name": "base",
        "headers": {"x-temper-manifest": f"{ref.key}#{ref.sha256}"},
    }
    with served(create_app(blobs, tmp_path / "cache", "cpu", threads=1)) as url:
        over = (await ask(child, spec(tmp_path, bundle, sides={"base": {**side, "url": url}})))["result"]
    for ours, theirs in zip(over["tasks"], result["tasks"], strict=True):
        assert ours["metrics"]["base"] == theirs["metrics"]["base"]
    for path in (state / "results").glob("*.base.json"):
        told = json.loads((tmp_path / "state" / "results" / path.name).read_text("utf-8"))
        assert told["samples"] == json.loads(path.read_text("utf-8"))["samples"]
