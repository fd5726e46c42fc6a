"""Folders of sentence-transformers as people have them: tiny, with random weights, made in a moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from contracts.manifest import ManifestRef

WORDS = ["the", "red", "blue", "key", "kettle", "opens", "gate", "weighs", "at", "noon", "and", "nobody", "has", "one"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS, *".,=?", *WORDS, *(f"##{each}" for each in LETTERS)]
WIDTH, CONTEXT = 16, 64
COMMON = {
    "vocab_size": 128,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 24,
    "max_position_embeddings": CONTEXT + 2,
    "pad_token_id": 0,
    "cls_token_id": 2,
    "sep_token_id": 3,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "initializer_range": 0.3,
}


async def nobody(path: str, body: bytes, manifest: ManifestRef, request_id: str, tenant: str) -> Any:
    """The `Complete` port of whoever has nothing to ask."""
    raise AssertionError(f"{tenant} asks {path}")


def tokenizer(side: str = "right") -> PreTrainedTokenizerFast:
    """WordPiece with BERT's special tokens."""
    vocabulary = {token: id for id, token in enumerate(VOCABULARY)}
    raw = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        padding_side=side,
        model_max_length=CONTEXT,
    )


def embedder(
    folder: Path,
    family: str = "bert",
    pooling: dict[str, Any] | None = None,
    dense: int = 0,
    normalise: bool = True,
    side: str = "right",
    prompts: dict[str, Any] | None = None,
    **config: Any,
) -> Path:
    """Write a folder; `pooling` is its config beside the width, `dense` the width of a layer behind it."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.for_model(family, **{**COMMON, **config})).save_pretrained(folder)
    tokenizer(side).save_pretrained(folder)
    steps = ["Transformer", "Pooling", *["Dense"] * bool(dense), *["Normalize"] * normalise]
    paths = ["" if kind == "Transformer" else f"{place}_{kind}" for place, kind in enumerate(steps)]
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (kind, path) in enumerate(zip(steps, paths, strict=True))
    ]
    said: dict[str, Any] = {
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": CONTEXT, "do_lower_case": False},
        "config_sentence_transformers.json": {"__version__": {"sentence_transformers": "5.0.0"}, **(prompts or {})},
        "1_Pooling/config.json": {"word_embedding_dimension": WIDTH, **(pooling or {"pooling_mode_mean_tokens": True})},
    }
    if dense:
        torch.manual_seed(1)
        widths = {"in_features": WIDTH, "out_features": dense, "bias": True}
        said["2_Dense/config.json"] = widths | {"activation_function": "torch.nn.modules.activation.Tanh"}
        (folder / "2_Dense").mkdir()
        weights = {"linear.weight": torch.randn(dense, WIDTH), "linear.bias": torch.randn(dense)}
        save_file(weights, folder / "2_Dense/model.safetensors")
    for name, content in said.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder
