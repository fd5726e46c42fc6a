"""LoRA layers computed as one matrix product with the merged weight, where that is cheaper than two beside it."""

from pathlib import Path
from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor
from torch.nn import Identity
from torch.nn.functional import linear


def _is_not_intel() -> bool:
    """Whether products of matrices would go to MKL on a processor that Intel did not make."""
    about = Path("/proc/cpuinfo")
    mkl = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return mkl and about.exists() and "GenuineIntel" not in about.read_text()


NOT_INTEL = _is_not_intel()
"""Whether `product` asks oneDNN."""


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weightᵀ + bias` without gradients, x [..., in], weight [out, in], in fp32; either may be a transposed view.

    On AMD's processors MKL does without AVX-512; oneDNN, which torch brings too, takes half of the time there.
    """
    if NOT_INTEL and x.device.type == "cpu":
        computed: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # noqa: SLF001
        return computed
    return linear(x, weight, bias)


class MergedLinear(torch.autograd.Function):
    """`x @ (W + s·B·A)ᵀ + bias` with gradients for x, A and B; W is frozen.

    PEFT computes `x @ Wᵀ + bias + s·((x @ Aᵀ) @ Bᵀ)`: two thin products and two passes over the output more in the
    forward, and as many in the backward. The merged weight is computed again in the backward, not kept.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        """x [..., in], weight [out, in], bias [out], a [r, in], b [out, r] → [..., out]."""
        ctx.save_for_backward(x, weight, a, b)
        ctx.scale = scale
        return product(x, torch.addmm(weight, b, a, alpha=scale), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients in the order of forward's arguments."""
        x, weight, a, b = ctx.saved_tensors
        gradient = gradients[0].flatten(0, -2)
        rows = x.flatten(0, -2)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = product(gradient, torch.addmm(weight, b, a, alpha=ctx.scale).T).view_as(x)
        da = product(product(gradient, b.T).mul_(ctx.scale).T, rows.T)
        db = product(product(rows, a).mul_(ctx.scale).T, gradient.T).T
        return dx, None, None, da, db, None


def merge_where_cheaper(model: Any) -> int:
    """Let the LoRA layers of a PEFT model use MergedLinear where it computes the same; returns how many may.

    These are plain fp32 linear layers with one adapter and no dropout. A batch of few tokens, whose thin products
    cost less than the merge, and a switched-off adapter take PEFT's own way.
    """
    layers = [module for module in model.modules() if isinstance(module, Linear) and _is_plain(module)]
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
    return len(layers)


def _is_plain(layer: Linear) -> bool:
    base = layer.get_base_layer()
    names = list(layer.lora_A)
    return (
        type(base) is torch.nn.Linear
        and len(names) == 1
        and layer.active_adapters == names
        and not layer.lora_variant
        and not layer.lora_bias[names[0]]
        and isinstance(layer.lora_dropout[names[0]], Identity)
        and base.weight.dtype == layer.lora_A[names[0]].weight.dtype == torch.float32
    )


def _forward(layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    base = layer.get_base_layer()
    out_features, in_features = base.weight.shape
    cheaper = x.shape[:-1].numel() * (out_features + in_features) > out_features * in_features
    if (
        not cheaper
        or layer.disable_adapters
        or layer.merged
        or args
        or kwargs
        or torch.is_autocast_enabled(x.device.type)
    ):
        plain: Tensor = Linear.forward(layer, x, *args, **kwargs)
        return plain
    name = next(iter(layer.lora_A))
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    merged: Tensor = MergedLinear.apply(x, base.weight, base.bias, a, b, layer.scaling[name])
    return merged
