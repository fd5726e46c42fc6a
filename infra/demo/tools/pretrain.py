"""Make the demo base model from nothing: `python -m infra.demo.tools.pretrain --out infra/demo/base`.

A Qwen2 of one million parameters, saved as a Llama, learns to find and copy what a context says, from a fixed budget of
synthetic tokens. A run that was stopped goes on from its state file; `--device cuda` uses a GPU.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from infra.demo import text
from infra.demo.tools.tokenizer import ASSISTANT, END, build_tokenizer

HIDDEN, LAYERS, HEADS, INNER, ROPE_THETA, CONTEXT = 128, 4, 4, 384, 10_000.0, 2048
BATCH_TOKENS = 4096
LONGEST = 700  # tokens; longer samples are cut
QUESTIONS = 5  # a chat; they share the cost of reading the context
CONTEXT_WEIGHT = 0.1  # of a token outside the answers in the loss; answers count 1
WARM_UP = 0.02  # share of the budget spent mostly on plain repetition, which makes copying appear early
REPEAT_SHARE, CLOSED_SHARE = 0.15, 0.05
MOST_FACTS = 8
ADAM_RATE, MUON_RATE, MUON_DECAY = 3e-3, 0.02, 0.01


@dataclass(frozen=True, slots=True)
class Sample:
    """A training sequence: token ids, and the weight of predicting each of them."""

    ids: list[int]
    weights: list[float]


Encode = Callable[[list[list[text.Message]]], list[Sample]]


def encoder(tokenizer: PreTrainedTokenizerFast, context_weight: float) -> Encode:
    """Return a function that renders chats and weighs answers 1, everything else `context_weight`."""
    opens, closes = tokenizer.convert_tokens_to_ids([ASSISTANT, END])

    def encode(chats: list[list[text.Message]]) -> list[Sample]:
        rendered = tokenizer.apply_chat_template(chats, tokenize=False)
        samples = []
        for encoding in tokenizer.backend_tokenizer.encode_batch_fast(rendered):
            weights, answering = [], False
            for token in encoding.ids:
                weights.append(1.0 if answering else context_weight)
                answering = token == opens or (answering and token != closes)
            samples.append(Sample(encoding.ids[:LONGEST], weights[:LONGEST]))
        return samples

    return encode


def repetition(rng: Random, vocabulary: int, length: int) -> Sample:
    """Return random segments of tokens that come again in another order; the second coming is what is learned."""
    count = rng.randint(2, 6)
    segments = [
        [rng.randrange(5, vocabulary) for _ in range(rng.randint(3, max(4, length // count)))] for _ in range(count)
    ]
    ids = [token for segment in segments for token in segment]
    weights = [0.0] * len(ids)
    for _ in range(rng.randint(1, 2)):
        for segment in rng.sample(segments, count):
            ids += segment
            weights += [0.0, *[1.0] * (len(segment) - 1)]  # which segment comes next cannot be known
    return Sample(ids, weights)


def mixture(rng: Random, done: float, vocabulary: int, encode: Encode) -> list[Sample]:
    """Return a few hundred samples fit for the share `done` of the budget: repetition first, then longer contexts."""
    if done < WARM_UP:
        chats = [text.reading_chat(rng, rng.randint(2, 3), QUESTIONS) for _ in range(100)]
        return [repetition(rng, vocabulary, rng.choice([24, 40])) for _ in range(300)] + encode(chats)
    most = 3 + int((MOST_FACTS - 3) * min(1.0, (done - WARM_UP) / 0.5))
    least = 2 if done < 0.6 else 3
    chats = [text.reading_chat(rng, rng.randint(least, most), QUESTIONS) for _ in range(240)]
    chats += [text.closed_chat(rng) for _ in range(int(240 * CLOSED_SHARE))]
    return encode(chats) + [repetition(rng, vocabulary, 40) for _ in range(int(240 * REPEAT_SHARE * (1 - done)))]


def batches(rng: Random, samples: list[Sample], tokens: int = BATCH_TOKENS) -> list[list[Sample]]:
    """Group samples of like length into batches of up to `tokens` tokens with padding, in random order."""
    groups: list[list[Sample]] = [[]]
    for sample in sorted(samples, key=lambda sample: len(sample.ids) + rng.random() * 8):
        if groups[-1] and (len(groups[-1]) + 1) * len(sample.ids) > tokens:
            groups.append([])
        groups[-1].append(sample)
    rng.shuffle(groups)
    return groups


def padded(batch: list[Sample], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and weights as [rows, longest], padded on the right with pad (0) and weight 0."""
    longest = max(len(sample.ids) for sample in batch)
    ids = torch.tensor([sample.ids + [0] * (longest - len(sample.ids)) for sample in batch])
    weights = torch.tensor([sample.weights + [0.0] * (longest - len(sample.weights)) for sample in batch])
    return ids.to(device), weights.to(device)


def build_model(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    """Return the untrained model; heads of its first layer already look one, two and three tokens back."""
    model = Qwen2ForCausalLM(Qwen2Config(**_shape(tokenizer), attn_implementation="sdpa"))
    _look_back(model.model.layers[0].self_attn, distances=(1, 2, 3))
    return model


def _shape(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def as_llama(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return the same function as a Llama with attention biases, ready to be saved.

    For a model that says Qwen2, transformers' AutoTokenizer puts Qwen2's own way of splitting text into any tokenizer.
    """
    llama = LlamaForCausalLM(LlamaConfig(**_shape(tokenizer), attention_bias=True))
    missing, unexpected = llama.load_state_dict(model.state_dict(), strict=False)
    assert not unexpected, unexpected
    with torch.no_grad():
        for name in missing:  # Qwen2 has no bias after attention
            assert name.endswith("o_proj.bias"), name
            llama.get_parameter(name).zero_()
    llama.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    return llama


@torch.no_grad()
def _look_back(attention: Any, distances: Iterable[int], strength: float = 5.0) -> None:
    """Set query and key biases so that head h attends to the token `distances[h]` before it.

    Rotary embedding turns biases into a function of distance alone: the query's bias is the key's, rotated.
    Induction (find what came before, copy what followed) needs such heads and is slow to find them by itself.
    """
    width = HIDDEN // HEADS
    frequencies = 1.0 / ROPE_THETA ** (torch.arange(0, width, 2) / width)
    fast = torch.where(torch.arange(width // 2) < 8, strength, 0.0)
    for head, distance in enumerate(distances):
        rows = slice(head * width, (head + 1) * width)
        angles = frequencies * distance
        attention.q_proj.bias[rows] = torch.cat([fast * angles.cos(), -fast * angles.sin()])
        attention.k_proj.bias[rows] = torch.cat([fast, torch.zeros(width // 2)])
        attention.q_proj.weight[rows] *= 0.1
        attention.k_proj.weight[rows] *= 0.1


class Muon:
    """Momentum whose matrix updates are orthogonalised (Jordan et al., 2024); matrices of one shape go together."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        groups: dict[torch.Size, list[torch.nn.Parameter]] = defaultdict(list)
        for parameter in parameters:
            groups[parameter.shape].append(parameter)
        self._groups = list(groups.values())
        self.momenta = [torch.zeros_like(torch.stack(list(group))) for group in self._groups]

    @torch.no_grad()
    def step(self, rate: float, momentum: float = 0.95) -> None:
        """Apply the gradients and clear them."""
        for group, memory in zip(self._groups, self.momenta, strict=True):
            gradient = torch.stack([parameter.grad for parameter in group if parameter.grad is not None])
            memory.mul_(momentum).add_(gradient)
            update = gradient + momentum * memory
            rows, columns = group[0].shape
            if rows > columns:
                update = update.mT
            update = update / (update.norm(dim=(1, 2), keepdim=True) + 1e-7)
            for _ in range(5):  # Newton-Schulz
                gram = update @ update.mT
                update = 3.4445 * update + (-4.7750 * gram + 2.0315 * gram @ gram) @ update
            if rows > columns:
                update = update.mT
            scale = rate * max(1.0, rows / columns) ** 0.5
            for parameter, change in zip(group, update, strict=True):
                parameter.mul_(1 - rate * MUON_DECAY).add_(change, alpha=-scale)
                parameter.grad = None


def weighted_loss(model: Qwen2ForCausalLM, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean cross-entropy; logits are computed only where the weight is above 0."""
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
    used = weights[:, 1:] > 0
    losses = cross_entropy(model.lm_head(hidden[used]), ids[:, 1:][used], reduction="none")
    used_weights = weights[:, 1:][used]
    return (losses * used_weights).sum() / used_weights.sum()


@torch.no_grad()
def exact_share(model: PreTrainedModel, samples: list[Sample], device: torch.device) -> float:
    """Return the share of samples whose weighted tokens are all the model's first choice (greedy exact match)."""
    right = 0
    for batch in batches(Random(0), samples, 8192):
        ids, weights = padded(batch, device)
        missed = (model(input_ids=ids).logits[:, :-1].argmax(-1) != ids[:, 1:]) & (weights[:, 1:] > 0)
        right += int((~missed.any(1)).sum())
    return right / len(samples)


def probes(encode: Encode) -> dict[str, list[Sample]]:
    """Return chats of one question each, never trained on, by kind and number of facts."""
    rng = Random(10**6 + 7)
    cells: list[tuple[text.Kind, int]] = [("quote", 3), ("quote", 6), ("value", 3), ("value", 6), ("continue", 6)]
    return {
        f"{kind}/{facts}": encode([text.reading_chat(rng, facts, 1, kind=kind, twisted=0.0) for _ in range(100)])
        for kind, facts in cells
    }


def pretrain(out: Path, *, tokens: int, seed: int, device: torch.device, state_file: Path) -> None:
    """Train on `tokens` tokens, padding included, and save model and tokenizer to `out`."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    encode, probing = encoder(tokenizer, CONTEXT_WEIGHT), probes(encoder(tokenizer, 0.0))
    model = build_model(tokenizer).to(device)
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    chosen = {id(parameter) for parameter in matrices}
    others = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    adam, muon = torch.optim.AdamW(others, ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.0), Muon(matrices)
    pool = step = used = 0
    if state_file.exists():
        state = torch.load(state_file, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        adam.load_state_dict(state["adam"])
        muon.momenta = state["muon"]
        pool, step, used = state["pool"], state["step"], state["used"]
    started, report_at = time.monotonic(), used
    mean_loss: float | None = None
    while used < tokens:
        rng = Random(f"{seed}/{pool}")  # a pool is the unit of resuming: nothing else is random
        for batch in batches(rng, mixture(rng, used / tokens, len(tokenizer), encode)):
            left = 1 - used / tokens
            factor = min(1.0, (step + 1) / 20) * min(1.0, max(0.03, left / 0.4))
            adam.param_groups[0]["lr"] = ADAM_RATE * factor
            ids, weights = padded(batch, device)
            loss = weighted_loss(model, ids, weights)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(others, 1.0)
            adam.step()
            muon.step(MUON_RATE * factor)
            adam.zero_grad(set_to_none=True)
            step, used = step + 1, used + ids.numel()
            mean_loss = loss.item() if mean_loss is None else 0.95 * mean_loss + 0.05 * loss.item()
        pool += 1
        if used >= report_at:
            report_at += tokens // 20
            scores = {name: round(exact_share(model, samples, device), 2) for name, samples in probing.items()}
            print(f"{used / 1e6:.2f}M tokens, step {step}, {time.monotonic() - started:.0f} s, "
                  f"loss {mean_loss:.3f}, exact {scores}", flush=True)  # fmt: skip
            state = {"model": model.state_dict(), "adam": adam.state_dict(), "muon": muon.momenta}
            torch.save(state | {"pool": pool, "step": step, "used": used}, state_file)
    as_llama(model.to("cpu"), tokenizer).save_pretrained(out)
    tokenizer.save_pretrained(out)
    state_file.unlink(missing_ok=True)


def main() -> None:
    """Read the command line and make the model."""
    parser = argparse.ArgumentParser(description="Make the demo base model from synthetic text.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--tokens", type=int, default=20_000_000, help="token budget, padding included")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"), help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    state_file = arguments.out / "pretrain.state"
    pretrain(arguments.out, tokens=arguments.tokens, seed=arguments.seed, device=arguments.device,
             state_file=state_file)  # fmt: skip


if __name__ == "__main__":
    main()
