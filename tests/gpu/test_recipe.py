"""The recipe on a GPU: bf16, a batch that does not fit, and the speed on a model of a billion parameters."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from functions.train_model.parent import read_plan
from functions.train_model.recipe import train
from tests.functional.train_model.child import tokens_file, write_plan

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
]

ON_GPU: dict[str, Any] = {"device": "cuda", "dtype": "auto", "deterministic": False}


def trained(plan: Path) -> list[tuple[float, dict[str, Any]]]:
    """Every message of a run in this process, with the time at which it came."""
    messages: list[tuple[float, dict[str, Any]]] = []
    emit = lambda message: messages.append((time.perf_counter(), message))  # noqa: E731
    train(read_plan(["recipe", str(plan)]), emit, threading.Event())
    return messages


@pytest.fixture
def cramped() -> Iterator[None]:
    """A GPU that lends this process an eighth of its memory."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.125)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def billion(folder: Path) -> Path:
    """A random model in the shape of Llama 3.2 1B, in bf16."""
    shape = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32}
    config = LlamaConfig(**shape, num_key_value_heads=8, vocab_size=128256, max_position_embeddings=4096)
    config.tie_word_embeddings = True
    with torch.device("cuda"):
        model: Any = LlamaForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def test_bf16_on_the_gpu_loses_what_fp32_on_the_cpu_loses(tmp_path: Path) -> None:
    method = {"kind": "lora", "r": 4, "alpha": 8}
    on_cpu = [m for _, m in trained(write_plan(tmp_path, "cpu", method=method))]
    on_gpu = [m for _, m in trained(write_plan(tmp_path, "gpu", method=method, **ON_GPU))]
    assert on_gpu[0]["device"].startswith("cuda")
    assert [m["type"] for m in on_gpu] == [m["type"] for m in on_cpu]
    losses = [[m["train_loss"] for m in run if m["type"] == "progressed"] for run in (on_cpu, on_gpu)]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.usefixtures("cramped")
def test_a_batch_that_does_not_fit_is_cut_and_the_run_finishes(tmp_path: Path) -> None:
    model = billion(tmp_path / "model")
    tokens_file(tmp_path / "train.safetensors", lengths=[2048] * 32)
    plan = write_plan(tmp_path, model_dir=str(model), batch_size=32, n_epochs=1, checkpoint_every=0, **ON_GPU)
    messages = [m for _, m in trained(plan)]
    assert [m["type"] for m in messages if m["type"] == "adjusted"]
    assert messages[-1]["type"] == "finished"


def test_speed_on_a_billion_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints tokens a second and model FLOP/s; LoRA computes 4 FLOPs per parameter and token (no weight gradients)."""
    model = billion(tmp_path / "model")
    tokens_file(tmp_path / "train.safetensors", lengths=[1024] * 128)
    plan = write_plan(tmp_path, model_dir=str(model), batch_size=16, n_epochs=4, checkpoint_every=0, **ON_GPU)
    timed = trained(plan)
    steps = [(at, m) for at, m in timed if m["type"] == "progressed"]
    (begin, first), (end, last) = steps[2], steps[6]  # within the first epoch: no checkpoint between them
    speed = (last["tokens"] - first["tokens"]) / (end - begin)
    flops = 4 * timed[0][1]["parameters"] * speed
    with capsys.disabled():
        print(f"\n{torch.cuda.get_device_name()}: {speed:,.0f} tokens/s, {flops / 1e12:.1f} model TFLOP/s")
    assert speed > 0
