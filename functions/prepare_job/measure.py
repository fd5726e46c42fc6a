"""How big a model is, and how long one training step takes: a few real steps on real rows, then thrown away."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from functions._shared.precision import is_bfloat16
from functions.prepare_job.plan import PROBE_TOKENS, Shape

LINEAR = (nn.Linear, Conv1D)
"""What LoRA adapts; the second is GPT-2's."""
WARM_STEPS, SECONDS, LEAST_STEPS, MOST_STEPS = 2, 3.0, 4, 24
TIMED_SHARE = 1 / 8
"""Of a job's own steps, each taken twice: a short job is not timed for longer than it takes."""
GROUPED_BATCHES = 32
"""Batches among which training puts rows of like length together."""
MEMORY_SHARE = 0.4
"""A model that would take more of the free memory than this is not loaded only to be timed."""
EFFICIENCY = 0.4
"""Share of a large product's speed that training reaches; used where nothing could be timed."""
EVALUATION_SHARE = 1 / 3
"""Time of a pass without gradients to one with them."""
TRAINER_SHARE, TRAINER_SECONDS = 1.15, 0.005
"""What the trainer adds to a step, measured on models of one and eleven million parameters."""


def shape_of(spec: dict[str, Any]) -> Shape:
    """Return the sizes of the model in a directory, without its weights."""
    config = AutoConfig.from_pretrained(spec["model_dir"], local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    output = model.get_output_embeddings()
    linear = [layer for layer in model.modules() if isinstance(layer, LINEAR) and layer is not output]
    trainable = parameters
    if spec["tuning"]["kind"] == "lora":
        trainable = spec["tuning"]["r"] * sum(sum(layer.weight.shape) for layer in linear)
    text = config.get_text_config()
    return Shape(
        parameters=parameters,
        trainable=trainable,
        hidden=text.hidden_size,
        layers=text.num_hidden_layers,
        inner=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        vocabulary=text.vocab_size,
        weight_bytes=2 if is_bfloat16(spec["dtype"], device_of(spec).type) else 4,
    )


def device_of(spec: dict[str, Any]) -> torch.device:
    """Return the device that training will most likely use."""
    if spec["device"] != "auto":
        return torch.device(spec["device"])
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def measure(spec: dict[str, Any], shape: Shape, train: Any, valid: Any) -> dict[str, Any]:
    """Return the seconds of a step and of one evaluation, and how they were found."""
    if spec["threads"]:
        torch.set_num_threads(spec["threads"])
    device = device_of(spec)
    batches = typical_batches(train.lengths, spec["batch_size"], spec["seed"])
    mean_tokens = sum(_padded(train.lengths, batch) for batch in batches) / len(batches)
    need = shape.parameters * shape.weight_bytes + shape.trainable * 16
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    if need > MEMORY_SHARE * free:
        # forward 2 and backward 2 (of activations) or 4 operations per parameter and token
        work = mean_tokens * shape.parameters * (4 if spec["tuning"]["kind"] == "lora" else 6)
        step_seconds = work / (EFFICIENCY * _speed(device))
        how = f"computed from the model's size and the speed of {device.type}"
    else:
        own = spec["n_epochs"] * train.groups_made // spec["batch_size"]  # variants of a row take turns by epoch
        most = min(MOST_STEPS, max(LEAST_STEPS, round(own * TIMED_SHARE)))
        step_seconds, steps = _timed(spec, shape, device, train, batches, most)
        how = f"{steps} steps were timed on {device.type}"
    step_seconds = step_seconds * TRAINER_SHARE + TRAINER_SECONDS
    valid_seconds = 0.0
    if valid is not None:
        valid_seconds = sum(valid.lengths) * step_seconds / mean_tokens * EVALUATION_SHARE
    return {"step_seconds": step_seconds, "valid_seconds": valid_seconds, "how": how, "device": device.type}


def typical_batches(lengths: Sequence[int], batch_size: int, seed: int) -> list[list[int]]:
    """Return batches as training makes them, rows of like length together, in an order that is itself random."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(lengths))[: batch_size * GROUPED_BATCHES]
    rows = rows[np.argsort(np.asarray(lengths)[rows], kind="stable")]
    batches = [rows[start : start + batch_size].tolist() for start in range(0, len(rows), batch_size)]
    return [batches[index] for index in rng.permutation(len(batches))]


def _padded(lengths: Sequence[int], batch: list[int], most: int | None = None) -> int:
    return len(batch) * _width(lengths, batch, most)


def _width(lengths: Sequence[int], batch: list[int], most: int | None) -> int:
    longest = max(lengths[row] for row in batch)
    return longest if most is None else min(longest, most)


def _speed(device: torch.device) -> float:
    """Return the operations per second of a large matrix product."""
    size = 8192 if device.type == "cuda" else 1024
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    left = torch.ones((size, size), device=device, dtype=dtype)
    best = min(_seconds(lambda: left @ left, device) for _ in range(4))
    return 2 * size**3 / best


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _timed(
    spec: dict[str, Any], shape: Shape, device: torch.device, train: Any, batches: list[list[int]], most: int
) -> tuple[float, int]:
    """Return the mean seconds of real steps over `batches`, for a few seconds, and how many there were."""
    most_tokens = PROBE_TOKENS if device.type == "cpu" else None
    step = _stepper(spec, shape, device, train, most_tokens)
    parts = [_part(train.lengths, batch, most_tokens) if most_tokens else batch for batch in batches]
    for part in parts[:WARM_STEPS]:
        _seconds(partial(step, part), device)
    began, spent, steps = time.perf_counter(), 0.0, 0
    while steps < most and (time.perf_counter() - began < SECONDS or not steps):
        batch, part = batches[steps % len(batches)], parts[steps % len(batches)]
        # the faster of two: whatever else runs on the machine comes in bursts
        best = min(_seconds(partial(step, part), device) for _ in range(2))
        spent += best * _padded(train.lengths, batch) / _padded(train.lengths, part, most_tokens)
        steps += 1
    return spent / steps, steps


def _part(lengths: Sequence[int], batch: list[int], most: int) -> list[int]:
    """Return as many of a batch's rows, the longest first, as have `most` tokens; at least one, which is cut."""
    rows = sorted(batch, key=lambda row: -lengths[row])
    return rows[: max(1, most // lengths[rows[0]])]


class _Adapted(nn.Module):
    """A frozen linear layer with a low-rank one beside it: what PEFT makes, but its import takes longer than timing."""

    def __init__(self, layer: Any, rank: int) -> None:
        super().__init__()
        self.layer = layer
        wide, narrow = layer.weight.shape if isinstance(layer, Conv1D) else reversed(layer.weight.shape)
        self.down = nn.Linear(wide, rank, bias=False)
        self.up = nn.Linear(rank, narrow, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layer(x) + self.up(self.down(x.to(self.down.weight.dtype))) * 2.0
        return result


def _adapt(model: Any, rank: int) -> None:
    """Freeze a model and put low-rank layers beside all its linear ones but the output."""
    model.requires_grad_(False)
    output = model.get_output_embeddings()
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, LINEAR) and layer is not output:
                setattr(parent, name, _Adapted(layer, rank))


def _stepper(
    spec: dict[str, Any], shape: Shape, device: torch.device, train: Any, most: int | None
) -> Callable[[list[int]], None]:
    """Return what makes one training step over rows, of each at most its last `most` tokens."""
    tuning, half = spec["tuning"], shape.weight_bytes == 2
    full = tuning["kind"] == "full"
    dtype = torch.bfloat16 if half and not full else torch.float32
    model: Any = AutoModelForCausalLM.from_pretrained(
        Path(spec["model_dir"]), dtype=dtype, local_files_only=True, use_safetensors=True
    )
    if not full:
        _adapt(model, tuning["r"])
    model.to(device).train()
    positions: list[torch.Tensor] = []
    # as in training, the output layer sees only what predicts a label
    model.get_output_embeddings().register_forward_pre_hook(
        lambda _, args: (args[0].flatten(0, 1).index_select(0, positions[-1]),)
    )
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6, fused=True)
    offsets = np.concatenate(([0], np.cumsum(train.lengths)))
    ids, mask = np.frombuffer(train.ids, dtype=np.int32), np.frombuffer(train.mask, dtype=np.uint8)

    def step(batch: list[int]) -> None:
        width = _width(train.lengths, batch, most)
        inputs = np.zeros((len(batch), width), dtype=np.int64)
        marks = np.zeros((len(batch), width), dtype=np.uint8)
        for place, row in enumerate(batch):
            end = offsets[row + 1]
            begin = max(offsets[row], end - width)  # what is trained stands at the end
            inputs[place, : end - begin], marks[place, : end - begin] = ids[begin:end], mask[begin:end]
        marks[:, 0] = 0
        labels = np.flatnonzero(marks)
        positions[:] = [torch.from_numpy(labels - 1).to(device)]
        targets = torch.from_numpy(inputs.reshape(-1)[labels]).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = model(input_ids=torch.from_numpy(inputs).to(device), use_cache=False).logits
        loss = cross_entropy(logits.float(), targets)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step
