"""Tiny models and token files, and the recipe run as a real child process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

VOCABULARY = 96
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


def tiny_model(folder: Path, family: str = "qwen2", **changes: Any) -> Path:
    """A random model of two layers, saved at `folder` with a file that stands for its tokenizer."""
    torch.manual_seed(1)
    shape = {**SHAPE, **changes}
    model: Any = Qwen2ForCausalLM(Qwen2Config(**shape)) if family == "qwen2" else LlamaForCausalLM(LlamaConfig(**shape))
    model.save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|end|>"}')
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


def tokens_file(
    path: Path, rows: int = 24, seed: int = 3, lengths: Sequence[int] | None = None, variants: int = 1
) -> Path:
    """Rows of ragged length whose second half is labelled, `variants` of each, as `prepare_job` writes them."""
    random = torch.Generator().manual_seed(seed)
    sizes = list(lengths or torch.randint(6, 40, (rows,), generator=random).tolist())
    ids = torch.randint(0, VOCABULARY, (sum(sizes),), generator=random, dtype=torch.int32)
    marks = torch.cat([(torch.arange(n) >= n // 2).to(torch.uint8) for n in sizes])
    offsets = torch.tensor([0, *sizes]).cumsum(0)
    groups = torch.arange(len(sizes), dtype=torch.int32) // variants
    save_file({"input_ids": ids, "labels_mask": marks, "offsets": offsets, "groups": groups}, path)
    return path


def write_plan(folder: Path, name: str = "run", **changes: Any) -> Path:
    """A plan of 18 steps on the tiny model in `folder`, changed as named; made where missing."""
    model = folder / "model"
    if not model.exists():
        tiny_model(model)
    if not (folder / "train.safetensors").exists():
        tokens_file(folder / "train.safetensors")
    plan = {
        "version": 1, "job": "ftjob-test", "model_dir": str(model), "train": str(folder / "train.safetensors"),
        "valid": None, "output_dir": str(folder / name), "resume_dir": None,
        "method": {"kind": "lora", "r": 4, "alpha": 8, "dropout": 0.1, "target_modules": "all-linear"},
        "n_epochs": 3, "batch_size": 4, "learning_rate": 0.01, "schedule": "linear", "warmup_steps": 2,
        "weight_decay": 0.01, "max_grad_norm": 1.0, "seed": 42, "checkpoint_every": 4, "eval_every": 0,
        "device": "cpu", "dtype": "float32", "threads": 1, "deterministic": True,
    }  # fmt: skip
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**plan, **changes}))
    return path


class Child:
    """The recipe as a process: its lines, its stdin, its end."""

    def __init__(self, plan: Path, *launcher: str) -> None:
        command = [sys.executable, *launcher, "-m", "functions.train_model.recipe", str(plan)]
        self.errors = plan.with_suffix(".stderr").open("w+")
        pipe = subprocess.PIPE
        env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self.errors, text=True, env=env)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Each message as it comes; anything that is no JSON is an error."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield json.loads(line)

    def until(self, **wanted: Any) -> list[dict[str, Any]]:
        """The messages up to the first that has all the `wanted` values."""
        seen = []
        for message in self.lines():
            seen.append(message)
            if wanted.items() <= message.items():
                return seen
        raise AssertionError(f"{wanted} never came, but {seen}; stderr: {self.stderr()}")

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def stderr(self) -> str:
        self.errors.seek(0)
        return self.errors.read()

    def close(self) -> int:
        """Close stdin, kill what still runs, and give the exit status."""
        if self.process.poll() is None:
            self.process.kill()
        status = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            assert stream is not None
            stream.close()
        return status


def run(plan: Path, *launcher: str) -> list[dict[str, Any]]:
    """All messages of a run that ends by itself with status 0."""
    child = Child(plan, *launcher)
    try:
        messages = list(child.lines())
        assert child.process.wait() == 0, (messages[-1:], child.stderr())
    finally:
        child.close()
    return messages
