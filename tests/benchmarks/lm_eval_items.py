"""Items a second of letter tasks: Temper's harness against lm-eval's own command line, on CPU.

Both ask the same models the same MMLU-shaped items with five examples before each, in batches of the same size, by the
same YAMLs. First lm-eval's command line and Temper's child run once as processes: their scores must be equal to the
last digit, item by item. Then both ways of asking take turns in one process, `lm_eval.evaluate` with lm-eval's model
and with Temper's (its journal on disk included), so that starting Python counts for neither; the whole processes' times
are told beside it. `python -m tests.benchmarks.lm_eval_items [--quick]`.
"""

import argparse
import json
import logging
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("KMP_BLOCKTIME", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import torch
from datasets import disable_progress_bars
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from functions.benchmark_model.harness.fast_path import Direct, templates_remembered
from functions.benchmark_model.harness.journal import Journal
from tests.bundle import build

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "infra" / "demo" / "base"
TASKS = ("mmlu_abstract_algebra", "mmlu_care_of_kettles")
BATCH = 16
GATE = 1.5
SIZES: dict[str, dict[str, int] | None] = {
    "1M, 1k vocabulary (demo base)": None,
    "18M, 32k vocabulary": {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 4, "vocab_size": 32000},
}


def make_model(folder: Path, shape: dict[str, int]) -> Path:
    """A random model with the demo base's tokenizer and a vocabulary as large as those of real models begin."""
    torch.manual_seed(0)
    config = LlamaConfig(
        **shape,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=2048,
        initializer_range=0.1,
        eos_token_id=1,
        pad_token_id=0,
    )
    model: Any = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(DEMO).save_pretrained(folder)
    return folder


def _process(command: list[str], folder: Path, threads: int) -> float:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": str(threads),
        "HF_DATASETS_CACHE": str(folder / "datasets"),
    }
    start = time.perf_counter()
    said = subprocess.run(
        [sys.executable, "-m", *command], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if said.returncode:
        raise AssertionError(f"{command[0]} failed: {said.stderr[-2000:]}")
    return seconds


def _processes(folder: Path, model: Path, bundle: Path, threads: int) -> dict[str, float]:
    """Both programs once; their scores must be equal, item by item."""
    state, out = folder / "state", folder / "cli"
    spec = {
        "bundle": str(bundle),
        "tasks": TASKS,
        "folder": str(state),
        "batch_size": BATCH,
        "sides": {"base": {"identity": "x", "model": str(model)}},
    }
    (folder / "spec.json").write_text(json.dumps(spec), "utf-8")
    ours = _process(["functions.benchmark_model.harness", str(folder / "spec.json")], folder, threads)
    command = ["lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={model}", "--tasks", ",".join(TASKS)]
    command += ["--include_path", str(state / "tasks"), "--device", "cpu", "--batch_size", str(BATCH)]
    peer = _process([*command, "--output_path", str(out), "--log_samples"], folder, threads)
    (results,) = out.rglob("results_*.json")
    means = json.loads(results.read_text("utf-8"))["results"]
    for task in TASKS:
        told = json.loads((state / "results" / f"{task}.base.json").read_text("utf-8"))
        (path,) = out.rglob(f"samples_{task}_*.jsonl")
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        theirs = [line["acc"] for line in sorted(lines, key=lambda line: line["doc_id"])]
        if [row["scores"]["acc"] for row in told["samples"]] != theirs or told["metrics"]["acc"] != means[task][
            "acc,none"
        ]:
            raise AssertionError(f"the scores of {task} differ")
    return {"ours_s": round(ours, 2), "lm_eval_s": round(peer, 2), "ratio": round(peer / ours, 3)}


def _round(lm: Any, state: Path) -> float:
    """Seconds of one evaluation of all tasks; building the requests is part of it."""
    random.seed(0)
    manager = TaskManager(include_path=str(state / "tasks"), include_defaults=False)
    loaded = manager.load(list(TASKS))
    for task in loaded["tasks"].values():
        task.set_fewshot_seed(seed=1234)
    start = time.perf_counter()
    said = evaluate(lm=lm, task_dict=loaded, bootstrap_iters=0, log_samples=True)
    assert said is not None
    return time.perf_counter() - start


def _compare(folder: Path, model: Path, items: int, rounds: int, threads: int) -> dict[str, Any]:
    bundle = build(folder / "bundle", items // len(TASKS))
    processes = _processes(folder, model, bundle, threads)
    peer = HFLM(pretrained=str(model), device="cpu", batch_size=BATCH)
    ours = Direct(pretrained=str(model), device="cpu", batch_size=BATCH)
    rates: dict[str, list[float]] = {"ours": [], "peer": []}
    for number in range(rounds + 1):
        peer_s = _round(peer, folder / "state")
        with Journal(folder / f"journal{number}.jsonl", "x") as ours.journal, templates_remembered():
            ours_s = _round(ours, folder / "state")
        if number:  # the first one warms both up
            rates["peer"].append(items / peer_s)
            rates["ours"].append(items / ours_s)
    return {
        "items": items,
        "ours_items_per_s": _spread(rates["ours"]),
        "lm_eval_items_per_s": _spread(rates["peer"]),
        "ratio": _spread([a / b for a, b in zip(rates["ours"], rates["peer"], strict=True)]),
        "whole_processes": processes,
    }


def run(quick: bool = False, threads: int = 1) -> dict[str, Any]:
    """Both models; ratios per round with median, p10 and p90. `passed` looks at p10."""
    torch.set_num_threads(threads)
    disable_progress_bars()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    items, rounds = (64, 3) if quick else (256, 7)
    result = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, shape) in enumerate(SIZES.items()):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            os.environ["HF_DATASETS_CACHE"] = str(folder / "datasets")
            model = make_model(folder / "model", shape) if shape else DEMO
            result[name] = _compare(folder, model, items, rounds, threads)
    return {
        "row": "5.8",
        "what": "items/s of letter tasks ÷ lm-eval's command line, the same batches, equal scores",
        "gate": GATE,
        "passed": all(one["ratio"]["p10"] >= GATE for one in result.values()),
        **result,
        "threads": threads,
        "versions": {name: version(name) for name in ("lm-eval", "torch", "transformers")},
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
    }


def _spread(values: list[float]) -> dict[str, float]:
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    return {"median": round(statistics.median(values), 3), "p10": round(tenths[0], 3), "p90": round(tenths[-1], 3)}


def main() -> None:
    """Print the result as JSON; exit 1 when the gate is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    result = run(options.quick, options.threads)
    print(json.dumps(result, indent=2, ensure_ascii=False))
    sys.exit(not result["passed"])


if __name__ == "__main__":
    main()
