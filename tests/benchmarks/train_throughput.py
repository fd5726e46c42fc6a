"""LoRA training throughput in real tokens a second: Temper's recipe against TRL's SFTTrainer, on CPU.

Both arms train the same random model on the same ragged rows in one process, taking turns. First they are given the
same batches, and their losses must agree step by step; then each runs as its users would run it: TRL with its default
settings (fused head, activation checkpointing, bf16 autocast, random order), and with all of its settings tuned as a
second peer; Temper as the trainer runs it. `python -m tests.benchmarks.train_throughput [--quick]`.
"""

import argparse
import gc
import json
import os
import platform
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("KMP_BLOCKTIME", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_PROGRESS_BARS="1")

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Qwen2Config,
    Qwen2ForCausalLM,
    TrainerCallback,
)
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from functions.train_model import core
from functions.train_model.core import RecipePlan
from functions.train_model.recipe import train

Times = npt.NDArray[np.float64]
GATE = 2.0
ROWS = {"3.5M, 2k vocabulary": 160, "11M, 32k vocabulary": 64}
BATCH, RATE, EPOCHS = 8, 1e-3, 1
SIZES: dict[str, dict[str, Any]] = {
    "3.5M, 2k vocabulary": {
        "vocab_size": 2048, "hidden_size": 224, "intermediate_size": 672,
        "num_hidden_layers": 5, "num_attention_heads": 4,
    },
    "11M, 32k vocabulary": {
        "vocab_size": 32000, "hidden_size": 256, "intermediate_size": 704,
        "num_hidden_layers": 4, "num_attention_heads": 4,
    },
}  # fmt: skip


def make_inputs(folder: Path, shape: dict[str, Any], rows: int) -> int:
    """A random model and ragged rows (16 to 384 tokens, the last third labelled); returns the parameters."""
    torch.manual_seed(0)
    config = Qwen2Config(**shape, num_key_value_heads=shape["num_attention_heads"], tie_word_embeddings=True)
    model: Any = Qwen2ForCausalLM(config)
    model.save_pretrained(folder / "model")
    random = np.random.Generator(np.random.PCG64(0))
    sizes = np.clip(random.lognormal(4.4, 0.7, rows), 16, 384).astype(np.int64)
    marks = np.concatenate([(np.arange(n) >= n - n // 3).astype(np.uint8) for n in sizes])
    ids = random.integers(0, shape["vocab_size"], int(sizes.sum()), dtype=np.int32)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    tensors = {"input_ids": ids, "labels_mask": marks, "offsets": offsets}
    save_file({name: torch.from_numpy(array) for name, array in tensors.items()}, folder / "train.safetensors")
    return sum(p.numel() for p in model.parameters())


def now() -> Times:
    """Seconds on the wall, and of this process on all CPUs: the latter hardly feels a busy machine."""
    return np.array([time.perf_counter(), time.process_time()])


class Clock(TrainerCallback):  # type: ignore[misc]
    """Times TRL's loop as Temper's is timed: from before the first step to after the last."""

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.begin = now()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.seconds = now() - self.begin


class Losses(TrainerCallback):  # type: ignore[misc]
    """Keeps the loss of each step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        if "loss" in logs:
            self.values.append(logs["loss"])


def trl(folder: Path, order: list[int] | None, **settings: Any) -> tuple[Times, list[float]]:
    """Seconds and losses of one epoch of TRL; in the given order of rows, or its own."""
    tensors = load_file(folder / "train.safetensors")
    ids, marks, offsets = tensors["input_ids"], tensors["labels_mask"], tensors["offsets"].tolist()
    spans = [slice(begin, end) for begin, end in pairwise(offsets)]
    labels = torch.where(marks.bool(), ids, -100)
    rows = {
        "input_ids": [ids[spans[i]].tolist() for i in order or range(len(spans))],
        "labels": [labels[spans[i]].tolist() for i in order or range(len(spans))],
    }
    clock, losses = Clock(), Losses()
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32),
        args=SFTConfig(
            output_dir=str(folder / "trl"), per_device_train_batch_size=BATCH, num_train_epochs=EPOCHS,
            learning_rate=RATE, lr_scheduler_type="constant", max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True}, use_cpu=True,
            save_strategy="no", report_to=[], disable_tqdm=True, log_level="error", seed=1, **settings,
        ),
        train_dataset=Dataset.from_dict(rows),
        data_collator=DataCollatorForLanguageModeling(pad_token_id=0),
        processing_class=PreTrainedTokenizerBase(),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[clock, losses],
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)  # stdout is for the result
    trainer.train()
    return clock.seconds, losses.values


def temper(folder: Path, threads: int) -> tuple[Times, list[float]]:
    """Seconds and losses of one epoch of the recipe, checkpoint at the end not counted."""
    plan = RecipePlan(
        version=1, job="bench", model_dir=str(folder / "model"), train=str(folder / "train.safetensors"),
        output_dir=str(folder / "temper"), n_epochs=EPOCHS, batch_size=BATCH, learning_rate=RATE, schedule="constant",
        seed=1, device="cpu", threads=threads,
    )  # fmt: skip
    times: dict[str, Times] = {}
    losses: list[float] = []

    def emit(message: dict[str, Any]) -> None:
        times[message["type"]] = now()
        if message["type"] == "progressed":
            losses.append(message["train_loss"])

    train(plan, emit, threading.Event())
    return times["progressed"] - times["started"], losses


def assert_equal_losses(folder: Path, threads: int) -> dict[str, float]:
    """Given the same batches from the same start, both arms lose the same; the largest relative differences."""
    offsets = load_file(folder / "train.safetensors")["offsets"].numpy()
    batches = core.epoch_batches(np.diff(offsets), BATCH, seed=1, epoch=0)
    order = [row for batch in batches for row in batch]
    ours = temper(folder, threads)[1]
    found = {}
    for name, tolerance, bf16 in (("fp32", 1e-4, False), ("bf16", 1e-2, True)):
        theirs = trl(folder, order, train_sampling_strategy="sequential", logging_steps=1, bf16=bf16)[1]
        assert len(theirs) == len(ours) == len(batches)
        found[name] = max(abs(a - b) / b for a, b in zip(ours, theirs, strict=True))
        assert found[name] < tolerance, f"losses differ by {found[name]:.2g} from TRL in {name}"
    return found


def spread(values: Times) -> dict[str, float]:
    """Median, 10th and 90th percentile."""
    low, middle, high = (float(np.percentile(values, q)) for q in (10, 50, 90))
    return {"p10": low, "median": middle, "p90": high}


def measure(folder: Path, shape: dict[str, Any], rows: int, rounds: int, threads: int) -> dict[str, Any]:
    """One size of model: equal losses first, a warm-up of each arm, then `rounds` of all arms in turn."""
    parameters = make_inputs(folder, shape, rows)
    differences = assert_equal_losses(folder, threads)
    tokens = EPOCHS * int(load_file(folder / "train.safetensors")["offsets"][-1])
    arms: dict[str, Callable[[], Times]] = {
        "temper": lambda: temper(folder, threads)[0],
        "trl_default": lambda: trl(folder, None)[0],
        "trl_tuned": lambda: trl(
            folder, None, bf16=False, activation_checkpointing=False, train_sampling_strategy="group_by_length"
        )[0],
    }
    taken: dict[str, list[Times]] = {name: [] for name in arms}
    for turn in range(rounds + 1):
        for name, arm in arms.items():
            gc.collect()
            times = arm()
            print(
                f"round {turn}, {name}: {tokens / times[0]:.0f} real tokens/s, {times} s", file=sys.stderr, flush=True
            )
            if turn:  # the first turn is the warm-up
                taken[name].append(times)
    found: dict[str, Any] = {"parameters": parameters, "real_tokens": tokens, "loss_difference": differences}
    for clock, index in (("wall", 0), ("cpu", 1)):
        seconds = {name: np.array(times)[:, index] for name, times in taken.items()}
        found[clock] = {"tokens_per_second": {name: spread(tokens / times) for name, times in seconds.items()}}
        for peer in ("trl_default", "trl_tuned"):
            found[clock][f"ratio_to_{peer}"] = spread(seconds[peer] / seconds["temper"])
    return found


def run(quick: bool = False) -> dict[str, Any]:
    """Row 1 of the benchmarks: both sizes, and whether the unfavourable bound of each ratio passes the gate."""
    threads = torch.get_num_threads()
    rounds = 2 if quick else 5
    results = {}
    for name, shape in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            results[name] = measure(Path(folder), shape, 32 if quick else ROWS[name], rounds, threads)
    ratios = [result["wall"]["ratio_to_trl_default"] for result in results.values()]
    bound = min(ratio["p10"] for ratio in ratios)
    return {
        "name": "train_throughput",
        "what": "LoRA real tokens/s ÷ TRL SFTTrainer default settings (CPU)",
        "gate": GATE,
        "median": min(ratio["median"] for ratio in ratios),
        "bound": bound,
        "passed": bound >= GATE,
        "rounds": rounds,
        "threads": threads,
        "results": results,
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "transformers", "trl", "peft", "accelerate")},
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rounds over few rows: it runs, but is no result")
    parser.add_argument("--json", type=Path, help="also write the result here")
    args = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)
    text = json.dumps(result := run(args.quick), indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
