"""Tiny models and token files, and the recipe run as a real child process."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from functions.train_model.work import RECIPE
from infra.children.child import LINE_BYTES
from infra.children.forked import ForkServer, Process

ROOT = Path(__file__).parents[3]
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

    def __init__(self, process: Process) -> None:
        self.process = process
        self._errors = asyncio.create_task(_all(process.stderr))

    async def lines(self) -> AsyncIterator[dict[str, Any]]:
        """Each message as it comes; anything that is no JSON is an error."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            yield json.loads(line)

    async def rest(self) -> list[dict[str, Any]]:
        """All messages that still come."""
        return [message async for message in self.lines()]

    async def until(self, **wanted: Any) -> list[dict[str, Any]]:
        """The messages up to the first that has all the `wanted` values."""
        seen = []
        async for message in self.lines():
            seen.append(message)
            if wanted.items() <= message.items():
                return seen
        raise AssertionError(f"{wanted} never came, but {seen}; stderr: {await self.stderr()}")

    async def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        await self.process.stdin.drain()

    async def stderr(self) -> str:
        """What it wrote there, once it has ended."""
        return (await self._errors).decode()

    async def wait(self) -> int:
        """Its exit status, once it has ended by itself."""
        return await self.process.wait()

    async def kill(self) -> int:
        """End it at once; returns its exit status."""
        os.kill(self.process.pid, signal.SIGKILL)
        return await self.process.wait()


async def _all(stream: asyncio.StreamReader | None) -> bytes:
    assert stream is not None
    return await stream.read()


class Launcher:
    """Starts the recipe as the trainer does, forked from a process that has its libraries; ends what still runs."""

    def __init__(self) -> None:
        self._environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT), "HOME": "/"}
        self._server = ForkServer(RECIPE, self._environment, LINE_BYTES)
        self._plain: list[asyncio.subprocess.Process] = []

    async def fork(self, plan: Path) -> Child:
        return Child(await self._server.fork(RECIPE, plan, 0))

    async def start(self, plan: Path, *launcher: str) -> Child:
        """One of its own, by `python -m`."""
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, *launcher, "-m", RECIPE, str(plan)]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, env=self._environment, cwd=plan.parent, limit=LINE_BYTES
        )
        self._plain.append(process)
        return Child(process)

    async def close(self) -> None:
        await self._server.close()
        for process in self._plain:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def whole(child: Child) -> list[dict[str, Any]]:
    """All messages of a run that ends by itself with status 0."""
    messages = await child.rest()
    assert await child.wait() == 0, (messages[-1:], await child.stderr())
    return messages
