"""The model that is trained, and how many rows at once fit into memory beside it."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, set_seed

from functions.train_model import core
from functions.train_model.batches import LabelLoss, Rows
from functions.train_model.core import RecipeError, RecipePlan
from functions.train_model.lora import merge_where_cheaper
from functions.train_model.parent import Emit

log = logging.getLogger("temper.recipe")


def load_model(plan: RecipePlan, device: torch.device, bf16: bool) -> Any:
    """The model to train on `device`: the base with a new adapter or with the resumed one, or all of its weights."""
    full = plan.method.kind == "full"
    # Trained weights are fp32, so that small updates are not lost; a frozen base may be bf16.
    dtype = torch.bfloat16 if bf16 and not full else torch.float32
    source = plan.resume_dir if full and plan.resume_dir else plan.model_dir
    model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, local_files_only=True, use_safetensors=True)
    model.get_input_embeddings().padding_idx = None  # it gets no gradient, and may be the token that ends a turn
    if not full:
        set_seed(plan.seed)  # the adapter's first weights are random
        if plan.resume_dir:
            model = PeftModel.from_pretrained(model, plan.resume_dir, is_trainable=True)
        else:
            modules = plan.method.target_modules
            if modules == "all-linear" and has_experts(model):
                modules = tuple(linear_layers(model))
            config = LoraConfig(
                r=plan.method.r,
                lora_alpha=plan.method.alpha,
                lora_dropout=plan.method.dropout,
                target_modules=modules if isinstance(modules, str) else list(modules),
                task_type="CAUSAL_LM",
            )
            model = get_peft_model(model, config)
        merge_where_cheaper(model)
    return model.to(device)


def has_experts(model: nn.Module) -> bool:
    """Whether weights of experts lie in one tensor: PEFT would adapt that too, but no batch of several adapters can."""
    return any(parameter.dim() == 3 and "expert" in name for name, parameter in model.named_parameters())


def linear_layers(model: Any) -> list[str]:
    """The names of all linear layers but the output."""
    output = model.get_output_embeddings()
    return [name for name, each in model.named_modules() if isinstance(each, nn.Linear) and each is not output]


def ran_out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed; the CPU's allocator has no error class of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def fit_micro_batch(micro: int, attempt: Callable[[int], None], checkpointing: Callable[[], None], emit: Emit) -> int:
    """The largest micro-batch, from `micro` down by halves, with which `attempt` fits into memory.

    When one row does not fit, `checkpointing` is switched on (recomputed activations); RecipeError `out_of_memory`
    when that is not enough. Each step down is emitted as `adjusted`.
    """
    recomputing = False
    while True:
        try:
            attempt(micro)
            return micro
        except RuntimeError as error:
            if not ran_out_of_memory(error):
                raise
            log.warning("out of memory with %d rows at once: %s", micro, error)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        smaller = core.smaller_micro_batch(micro)
        if smaller is not None:
            reason = f"A forward pass over {micro} of the longest rows ran out of memory; {smaller} are tried."
            micro = smaller
        elif not recomputing:
            reason = "One of the longest rows ran out of memory; activations are recomputed instead of kept."
            recomputing = True
            checkpointing()
        else:
            raise RecipeError("out_of_memory", "One row does not fit into the device's memory; use shorter rows.")
        emit({"type": "adjusted", "reason": reason, "micro_batch": micro, "gradient_checkpointing": recomputing})


def preflight(model: Any, score: LabelLoss, rows: Rows, micro: int, device: torch.device, bf16: bool) -> None:
    """Compute loss and gradient of the heaviest rows, with room taken for what the optimizer will hold."""
    model.train()
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    moments = torch.empty(2 * trained, dtype=torch.float32, device=device)
    try:
        for group in core.heaviest_rows(rows.lengths, rows.labels, micro):
            batch = {k: v.to(device) for k, v in rows.collate(group).items() if k != "tokens"}
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss, _ = score(model, batch)
            torch.autograd.backward(loss)
    finally:
        del moments
        model.zero_grad(set_to_none=True)


def recompute_activations(model: Any) -> None:
    """Trade time for memory: keep no activations, compute them again in the backward pass."""
    model.enable_input_require_grads()  # a frozen embedding would cut the gradient
    model.activation_checkpointing_enable()
