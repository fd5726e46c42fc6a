"""Base models as people have them: tiny, with random weights, made in a moment."""

from __future__ import annotations

import asyncio
import contextlib
import io
import runpy
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from gguf import GGUFWriter, TokenType
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from contracts.ports import ChildResult, Running
from tests.unit.generate_text.tiny import build_base

LLAMA = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
    "head_dim": 8,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
GPT = {"vocab_size": 300, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128}
OTHERS: dict[str, dict[str, Any]] = {
    "gpt2": GPT,
    "gptj": GPT | {"rotary_dim": 4},
    "gpt_bigcode": GPT,
    "bloom": {"vocab_size": 300, "hidden_size": 32, "n_layer": 3, "n_head": 4},
    "falcon": {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4},
    "opt": LLAMA | {"word_embed_proj_dim": 32, "ffn_dim": 48},
}
"""Families whose configs have names of their own."""


class SameProcess:
    """The `Child` port without the seconds that torch takes in a process of its own: the same modules, run here."""

    async def run(self, module: str, argument: Path, memory_bytes: int = 0, seconds: float = 0) -> ChildResult:
        return await asyncio.to_thread(self._run, module, argument)

    @staticmethod
    def _run(module: str, argument: Path) -> ChildResult:
        code, said, out = 0, "", io.StringIO()
        with patch.object(sys, "argv", [module, str(argument)]), contextlib.redirect_stdout(out):
            try:
                runpy.run_module(module, run_name="__main__", alter_sys=False)
            except SystemExit as ended:
                code = int(ended.code or 0)
            except Exception as error:  # noqa: BLE001  as a process ends
                code, said = 1, f"{type(error).__name__}: {error}"
        return ChildResult(code=code, stdout=out.getvalue().encode(), stderr=said)

    def start(self, module: str, argument: Path) -> Running:
        raise AssertionError("registering a model talks to no child")


def family(folder: Path, name: str, **config: Any) -> Path:
    """Write a base of a family, with the tokenizer of the tiny base; its end of turn is its padding too."""
    build_base(folder)
    for stale in ("config.json", "generation_config.json", "model.safetensors"):
        (folder / stale).unlink(missing_ok=True)
    torch.manual_seed(0)
    made = AutoConfig.for_model(name, **{**OTHERS.get(name, LLAMA), **config})
    AutoModelForCausalLM.from_config(made).save_pretrained(folder)
    return folder


def gguf(path: Path, architecture: str = "llama") -> Path:
    """Write a GGUF file of the family llama with random weights, a vocabulary and a chat template."""
    folder = family(path.parent / "as-directory", "llama", tie_word_embeddings=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    state = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    writer = GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_context_length(128)
    writer.add_embedding_length(32)
    writer.add_block_count(3)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(8)
    writer.add_vocab_size(300)
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types(
        [TokenType.CONTROL if token.startswith("<|") else TokenType.NORMAL for token, _ in vocabulary]
    )
    writer.add_token_merges([" ".join(pair) for pair in merges(folder)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(1)
    writer.add_chat_template(tokenizer.chat_template)
    for name, tensor in state.items():
        if stored := _stored(name):
            writer.add_tensor(stored, _turned(name, tensor).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def merges(folder: Path) -> list[tuple[str, str]]:
    """The merges of a directory's tokenizer."""
    import json

    said = json.loads((folder / "tokenizer.json").read_text())["model"]["merges"]
    return [tuple(each) if isinstance(each, list) else tuple(each.split(" ")) for each in said]


_PARTS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def _stored(name: str) -> str | None:
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    if not name.startswith("model.layers."):
        return None
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{_PARTS[part]}.weight"


def _turned(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """As llama.cpp stores the rows of queries and keys: both halves of a head alternate."""
    heads = {"q_proj": 4, "k_proj": 2}.get(name.split(".")[-2], 0)
    if not heads:
        return tensor
    rows, columns = tensor.shape
    return tensor.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns).contiguous()
