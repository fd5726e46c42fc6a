"""Whether models of a base's family can be trained as jobs are: `python -m functions.train_model.trial spec.json`.

The spec names `base` (a directory with config.json and weights) and `folder` (an empty one). A model of the base's own
architecture with few layers and random weights is trained for some steps, by the recipe's own parts; left in the folder
are `model`, `adapter` and `trial.safetensors` (`ids` [n], the tuned model's `logits` [n, vocabulary]), for
whoever serves. Printed is {"refused": why or null, "notes": [what a user should know]}.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, set_seed

from functions._shared.child import answer
from functions.train_model import checkpoints
from functions.train_model.batches import LabelLoss
from functions.train_model.core import Method, RecipePlan
from functions.train_model.model import has_experts, load_model

VOCABULARY, INNER, WINDOW, MOST_LAYERS = 256, 64, 8, 8
TOKENS, STEPS, RATE = 24, 3, 5e-3


class TrialError(Exception):
    """A base cannot be taken; the text is a sentence."""


def trial(spec: dict[str, Any]) -> dict[str, Any]:
    """Check the base, train its small sibling, leave what it says; return what is in the way and what to know."""
    base, folder = Path(spec["base"]), Path(spec["folder"])
    torch.set_num_threads(1)  # the model is tiny
    try:
        notes = check(base)
        shrink(base, folder / "model")
        train(folder)
    except TrialError as error:
        return {"refused": str(error), "notes": []}
    return {"refused": None, "notes": notes}


def check(base: Path) -> list[str]:
    """Return what a user should know of a base; TrialError unless its weights are those of its architecture."""
    try:
        AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        raise TrialError(
            f"config.json names an architecture that this version of transformers does not have ({said(error)}); code "
            "that comes with a model is not run."
        ) from error
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            base,
            device_map={"": "meta"},
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except Exception as error:
        raise TrialError(f"transformers cannot load it as a causal language model: {said(error)}.") from error
    if missing := sorted(found["missing_keys"]):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise TrialError(f"The weights of {missing[0]}{more} are missing; fetch the model again.")
    if found["mismatched_keys"]:
        name, stored, wanted = sorted(found["mismatched_keys"])[0]
        raise TrialError(f"{name} is stored as {list(stored)}, but config.json asks for {list(wanted)}.")
    notes = []
    if has_experts(model):
        notes.append("its experts are not adapted by LoRA, only the layers around them")
    known = model.get_input_embeddings().num_embeddings
    tokens = _tokens(base)
    if tokens > known:
        notes.append(f"its tokenizer has {tokens} tokens, its embeddings {known}: rows with the others are refused")
    return notes


def _tokens(base: Path) -> int:
    from tokenizers import Tokenizer

    return max(Tokenizer.from_file(str(base / "tokenizer.json")).get_vocab(with_added_tokens=True).values()) + 1


def shrink(base: Path, target: Path) -> None:
    """Write a model of the base's architecture with few layers, a small vocabulary, random weights."""
    config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    layers = config.num_hidden_layers
    kinds = getattr(config, "layer_types", None) or []
    few = max(2, max((kinds.index(kind) + 1 for kind in {*kinds}), default=2))
    few = min(few, layers, MOST_LAYERS)
    for name, value in list(vars(config).items()):
        if isinstance(value, list) and len(value) == layers:
            setattr(config, name, value[:few])
        elif name.endswith("_token_id"):
            setattr(config, name, None)
    config.num_hidden_layers = few
    config.vocab_size = min(config.vocab_size, VOCABULARY)
    for name in ("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size", "ffn_dim"):
        if isinstance(getattr(config, name, None), int):
            setattr(config, name, INNER)
    if isinstance(getattr(config, "sliding_window", None), int):
        config.sliding_window = WINDOW  # so that the trial's few tokens are beyond it
    config.dtype = torch.float32
    set_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(target)


def train(folder: Path) -> None:
    """Train the small model by LoRA, keep its adapter and what it says; TrialError where it learns nothing."""
    plan = RecipePlan(
        version=1, job="trial", model_dir=str(folder / "model"), train="", output_dir=str(folder), n_epochs=1,
        batch_size=1, learning_rate=RATE, seed=0, method=Method(r=4, alpha=8),
    )  # fmt: skip
    try:
        model = load_model(plan, torch.device("cpu"), bf16=False)
        score = LabelLoss(model)
        model.train()
        trained = [each for each in model.parameters() if each.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=RATE)
        ids = torch.arange(TOKENS)[None] * 7 % VOCABULARY
        batch = {"input_ids": ids, "positions": torch.arange(TOKENS - 1), "targets": ids[0, 1:]}
        losses = []
        for _ in range(STEPS):
            loss, _ = score(model, batch)
            torch.autograd.backward(loss)
            losses.append(float(loss))
            optimizer.step()
            optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            logits = model(input_ids=ids, use_cache=False).logits[0].float()
    except Exception as error:
        raise TrialError(f"Models of its family cannot be tuned here: {said(error)}.") from error
    if not all(map(math.isfinite, losses)) or losses[-1] >= losses[0]:
        raise TrialError("Models of its family cannot be tuned here: a trial of some steps learnt nothing.")
    adapter = checkpoints.Folder(folder / "adapter")
    checkpoints.write_adapter(adapter, model)
    adapter.commit()
    save_file({"ids": ids[0].contiguous(), "logits": logits.contiguous()}, folder / "trial.safetensors")


def said(error: BaseException) -> str:
    """Return the first line of a library's words, without its last full stop."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return first[:160].rstrip(".: ")


if __name__ == "__main__":
    sys.exit(answer(trial))
