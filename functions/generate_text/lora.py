"""LoRA adapters applied per row, so that requests for different adapters share one forward pass.

All adapters of a batch are laid side by side: ``y += ((x @ downᵀ) * gate) @ upᵀ``, where `gate` zeroes, for every row,
the columns of adapters that are not its own. Two matrix products per layer, however many adapters the batch mixes.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

_PREFIX = "base_model.model."
# What an adapter's config may say without changing the arithmetic above.
_PLAIN: dict[str, Any] = {
    "use_dora": False,
    "modules_to_save": None,
    "bias": "none",
}


class AdapterError(ValueError):
    """An adapter that this engine cannot apply exactly; the message says why."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """A LoRA adapter in memory: for each module its down [r, in] and up [out, r] matrix, the scale inside `up`."""

    name: str
    rank: int
    modules: dict[str, tuple[Tensor, Tensor]]

    @property
    def bytes(self) -> int:
        """Memory of the matrices in bytes."""
        return sum(t.numel() * t.element_size() for pair in self.modules.values() for t in pair)

    def tensors(self) -> Sequence[Tensor]:
        """Every matrix, to check that all are finite."""
        return [tensor for pair in self.modules.values() for tensor in pair]


def load_adapter(name: str, folder: Path, device: torch.device, dtype: torch.dtype) -> Adapter:
    """Read a PEFT LoRA folder (adapter_config.json, adapter_model.safetensors); AdapterError for anything but LoRA."""
    config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    if config.get("peft_type") != "LORA":
        raise AdapterError(f"adapter type {config.get('peft_type')!r} is not served; only LORA is")
    for key, plain in _PLAIN.items():
        if config.get(key) not in (plain, None):
            raise AdapterError(f"adapter option {key}={config[key]!r} is not served; retrain with {key}={plain!r}")
    rank = int(config["r"])
    scale = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
    downs: dict[str, Tensor] = {}
    ups: dict[str, Tensor] = {}
    for key, tensor in load_file(folder / "adapter_model.safetensors").items():
        module, _, kind = key.removeprefix(_PREFIX).rpartition(".lora_")
        if not key.startswith(_PREFIX) or kind not in ("A.weight", "B.weight"):
            raise AdapterError(f"adapter tensor {key!r} is not a LoRA matrix of a linear layer")
        if kind == "A.weight":
            downs[module] = tensor.to(device, dtype).contiguous()
        else:
            ups[module] = (tensor.float() * scale).to(device, dtype).contiguous()
    for option in ("rank_pattern", "alpha_pattern"):
        if odd := next((name for name in sorted(downs) if _matches(config.get(option) or {}, name)), None):
            raise AdapterError(f"adapter option {option} is not served, and names {odd!r}; retrain with one for all")
    if downs.keys() != ups.keys() or not downs:
        raise AdapterError("adapter_model.safetensors does not hold a lora_A and a lora_B for each layer")
    return Adapter(name, rank, {module: (downs[module], ups[module]) for module in downs})


def _matches(patterns: Sequence[str] | dict[str, Any], module: str) -> bool:
    """Whether one of PEFT's patterns is of a module: it names the end of it."""
    return any(re.match(rf"(.*\.)?({pattern})$", module) for pattern in patterns)


class _Slot:
    """One layer's matrices of the adapters now active; None where none of them touches the layer."""

    def __init__(self) -> None:
        self.down: Tensor | None = None
        self.up: Tensor | None = None


class LoraMixer:
    """Adds to a model's linear layers what each row's adapter says; it belongs to the engine's thread."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._slots: dict[str, _Slot] = {}
        self._active: tuple[Adapter, ...] = ()
        self._rows: list[Adapter | None] = []
        self._gate: Tensor | None = None

    def check(self, adapter: Adapter) -> None:
        """AdapterError unless every matrix of the adapter fits the layer of its name."""
        for name, (down, up) in adapter.modules.items():
            try:
                weight = self._model.get_parameter(f"{name}.weight")
            except AttributeError:
                raise AdapterError(f"the base model has no layer {name!r}: adapter and base do not match") from None
            if sorted(weight.shape) != sorted((up.shape[0], down.shape[1])):
                raise AdapterError(f"layer {name!r} is {list(weight.shape)}, not {[up.shape[0], down.shape[1]]}")

    def route(self, rows: Sequence[Adapter | None]) -> None:
        """Say which adapter (None: the base) each row of the coming forward passes uses."""
        if list(rows) == self._rows:
            return
        self._rows = list(rows)
        active = tuple(sorted({a for a in rows if a is not None}, key=lambda a: a.name))
        if active != self._active:
            self._lay_out(active)
        if not active or (len(active) == 1 and None not in rows):
            self._gate = None  # every row uses all columns
            return
        width = sum(a.rank for a in active)
        spans, start = {}, 0
        for adapter in active:
            spans[adapter] = (start, start := start + adapter.rank)
        first = next(iter(active[0].modules.values()))[0]
        gate = torch.zeros(len(rows), 1, width, dtype=first.dtype)
        for row, used in enumerate(rows):
            if used is not None:
                gate[row, :, slice(*spans[used])] = 1
        self._gate = gate.to(first.device)

    def _lay_out(self, active: tuple[Adapter, ...]) -> None:
        self._active = active
        for slot in self._slots.values():
            slot.down = slot.up = None
        for name in sorted({name for adapter in active for name in adapter.modules}):
            downs, ups = [], []
            inside, outside = self._sides(name, active)
            for adapter in active:
                down, up = adapter.modules.get(name, (inside[: adapter.rank], outside[:, : adapter.rank]))
                downs.append(down)
                ups.append(up)
            slot = self._slot(name)
            slot.down = downs[0] if len(downs) == 1 else torch.cat(downs)
            slot.up = ups[0] if len(ups) == 1 else torch.cat(ups, dim=1)

    @staticmethod
    def _sides(name: str, active: tuple[Adapter, ...]) -> tuple[Tensor, Tensor]:
        """Zeros that stand in for adapters without this layer, wide enough for each of them."""
        down, up = next(a.modules[name] for a in active if name in a.modules)
        rank = max(a.rank for a in active)
        return down.new_zeros(rank, down.shape[1]), up.new_zeros(up.shape[0], rank)

    def _slot(self, name: str) -> _Slot:
        slot = self._slots.get(name)
        if slot is None:
            slot = self._slots[name] = _Slot()
            self._model.get_submodule(name).register_forward_hook(self._hook(slot))
        return slot

    def _hook(self, slot: _Slot) -> Any:
        def add(_module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            if slot.down is None or slot.up is None:
                return None
            low = nn.functional.linear(args[0], slot.down)
            if (gate := self._gate) is not None:
                if low.dim() == 2:  # some layers see all rows' tokens as one list
                    gate = gate[:, 0].repeat_interleave(len(low) // len(gate), 0)
                low = low * gate
            return output + nn.functional.linear(low, slot.up)

        return add
