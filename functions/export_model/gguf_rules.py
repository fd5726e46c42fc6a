"""How a Hugging Face model becomes GGUF: names, order of rotary weights, metadata, the split of text before merges.

The rules are those of llama.cpp's convert_hf_to_gguf.py, of the architectures in ARCHITECTURES.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import ne
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer, pre_tokenizers

from functions.export_model.core import ExportError

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Architecture:
    """One of llama.cpp's."""

    arch: gguf.MODEL_ARCH
    permuted: bool
    """Whether the two halves of a head's rotary dimensions take turns there."""


ARCHITECTURES: Mapping[str, Architecture] = {
    "LlamaForCausalLM": Architecture(gguf.MODEL_ARCH.LLAMA, True),
    "MistralForCausalLM": Architecture(gguf.MODEL_ARCH.LLAMA, True),
    "Qwen2ForCausalLM": Architecture(gguf.MODEL_ARCH.QWEN2, False),
    "Qwen3ForCausalLM": Architecture(gguf.MODEL_ARCH.QWEN3, False),
}
_CONTRACTIONS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_WORD, _REST = r"[^\r\n\p{L}\p{N}]?\p{L}+", r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
SPLITS: Mapping[str, Sequence[str]] = {
    "llama-bpe": ["|".join((_CONTRACTIONS, _WORD, r"\p{N}{1,3}", _REST))],
    "qwen2": ["|".join((_CONTRACTIONS, _WORD, r"\p{N}", _REST))],
    "smollm": [r"\p{N}", _GPT2],
    "gpt-2": [_GPT2],
}
"""Kind of pre-tokenizer, as llama.cpp calls it → the expressions by which it splits."""
HARD = (
    "The fee of plan 7 is 25 Euro, I'll say; WE'VE 1234567 of them.",
    "  two  spaces\n\n\tTabs\tand\r\nlines \n  end  ",
    "Größe, naïve café, Ελληνικά, Русский язык 2024, 日本語のテキスト, العربية, हिन्दी, ไทย, 한국어",
    "def f(x): return x**2 + 3.14 != y // 0xff  # !?!?... --- ===> <|x|> 🚀🚀 👩‍👩‍👧",
    "don't Don'T it's IT'S we'll O'Neill 'quoted' \"double\" (par) [br] {cu} a_b-c/d\\e",
    "CamelCase XMLHttp A.B.C. U.S.A. e.g. i.e. 1,000.50 10% $5 €9 #1 @x &y *z* ~w ^v `u`",
)


def architecture(config: Mapping[str, Any]) -> Architecture:
    """Return what llama.cpp has for a model; raises ExportError for what is not known here."""
    name = next(iter(config.get("architectures") or ()), "?")
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ExportError(f"{name} cannot be exported as GGUF; known are {known}. Export it as merged instead.")
    return ARCHITECTURES[name]


def permute(weights: Array, heads: int) -> Array:
    """Return weights (or a bias) of queries or keys with each head's rotary halves interleaved, as llama.cpp has it."""
    shape = weights.shape
    return weights.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def head_dim(config: Mapping[str, Any]) -> int:
    """Return how many dimensions a head has."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the rotary parameters, whichever version of transformers wrote them."""
    said = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = said.get("rope_type") or said.get("type") or "default"
    return {"rope_theta": config.get("rope_theta", 10000.0), **said, "rope_type": kind}


def write_config(writer: gguf.GGUFWriter, name: str, config: Mapping[str, Any]) -> None:
    """Write what llama.cpp must know of the layers; raises ExportError for a rotary scaling that is not known here."""
    heads, turns = config["num_attention_heads"], rope(config)
    writer.add_name(name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(turns["rope_theta"])
    writer.add_rope_dimension_count(head_dim(config))
    writer.add_key_length(head_dim(config))
    writer.add_value_length(head_dim(config))
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    if turns["rope_type"] in ("linear", "yarn"):
        kind = {"linear": gguf.RopeScalingType.LINEAR, "yarn": gguf.RopeScalingType.YARN}[turns["rope_type"]]
        writer.add_rope_scaling_type(kind)
        writer.add_rope_scaling_factor(turns["factor"])
        if "original_max_position_embeddings" in turns:
            writer.add_rope_scaling_orig_ctx_len(turns["original_max_position_embeddings"])
    elif turns["rope_type"] not in ("default", "llama3"):
        raise ExportError(f"The rotary scaling {turns['rope_type']!r} is not known here. Export it as merged instead.")


def frequencies(config: Mapping[str, Any]) -> Array | None:
    """Return the factors that Llama 3 divides its rotary frequencies by (float32, half a head), None for others."""
    turns = rope(config)
    if turns["rope_type"] != "llama3":
        return None
    dims, old = head_dim(config), turns.get("original_max_position_embeddings", 8192)
    low, high = old / turns.get("low_freq_factor", 1.0), old / turns.get("high_freq_factor", 4.0)
    factors = []
    for place in range(0, dims, 2):
        length = 2 * math.pi * turns["rope_theta"] ** (place / dims)
        smooth = (old / length - turns.get("low_freq_factor", 1.0)) / (
            turns.get("high_freq_factor", 4.0) - turns.get("low_freq_factor", 1.0)
        )
        between = 1 / ((1 - smooth) / turns["factor"] + smooth)
        factors.append(1.0 if length < high else turns["factor"] if length > low else between)
    return np.array(factors, dtype=np.float32)


def pre_tokenizer(tokenizer: Path, texts: Sequence[str] = ()) -> tuple[str, int]:
    """Return the kind of pre-tokenizer with which llama.cpp reads HARD and `texts` as this tokenizer does.

    Where none does so in all, the one that is nearest, and how many of the texts it reads otherwise. Raises ExportError
    for what is no byte-level BPE.
    """
    said = json.loads(tokenizer.read_text(encoding="utf-8"))
    if said["model"]["type"] != "BPE" or "ByteLevel" not in json.dumps(said["decoder"]):
        raise ExportError("Its tokenizer is no byte-level BPE, which is what is known here. Export it as merged.")
    read, own = [*HARD, *texts], Tokenizer.from_file(str(tokenizer))
    ids, pieces = _read(own, read)
    found: dict[str, tuple[int, int]] = {}
    for kind, patterns in SPLITS.items():
        other = Tokenizer.from_str(json.dumps(said))
        parts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
        other.pre_tokenizer = pre_tokenizers.Sequence([*parts, pre_tokenizers.ByteLevel(False, use_regex=False)])
        differ = (sum(map(ne, one, two)) for one, two in zip(_read(other, read), (ids, pieces), strict=True))
        found[kind] = (next(differ), next(differ))
    best = min(found, key=lambda kind: found[kind])
    return best, found[best][0]


def _read(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[list[Any], list[Any]]:
    """Return the token ids of each text, and the pieces that merges stay within."""
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    return ids, [[piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)] for text in texts]


def write_tokenizer(writer: gguf.GGUFWriter, tokenizer: Any, config: Mapping[str, Any], kind: str) -> None:
    """Write the vocabulary (byte-level BPE), its special tokens and the chat template."""
    said = json.loads(tokenizer.backend_tokenizer.to_str())
    words = {id: word for word, id in said["model"]["vocab"].items()}
    types = dict.fromkeys(words, gguf.TokenType.NORMAL)
    for added in said["added_tokens"]:
        words[added["id"]] = added["content"]
        types[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    count = config["vocab_size"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(kind)
    writer.add_token_list([words.get(id, f"[PAD{id}]") for id in range(count)])
    writer.add_token_types([types.get(id, gguf.TokenType.UNUSED) for id in range(count)])
    writer.add_token_merges([each if isinstance(each, str) else " ".join(each) for each in said["model"]["merges"]])
    for add, id in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_eos_token_id, tokenizer.eos_token_id),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
        (writer.add_unk_token_id, tokenizer.unk_token_id),
    ):
        if id is not None:
            add(id)
    ids = tokenizer("x")["input_ids"]
    writer.add_add_bos_token(tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id)
    template = tokenizer.chat_template
    if template:
        writer.add_chat_template(template["default"] if isinstance(template, dict) else template)


def write_tensors(writer: gguf.GGUFWriter, state: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Write every weight under llama.cpp's name: matrices as float16, the rest as float32; raises ExportError."""
    known, layers = architecture(config), config["num_hidden_layers"]
    names = gguf.get_tensor_name_map(known.arch, layers)
    heads = config["num_attention_heads"]
    turned = {"q_proj": heads, "k_proj": config.get("num_key_value_heads") or heads}
    for name, tensor in state.items():
        if name == "lm_head.weight" and config.get("tie_word_embeddings"):
            continue  # llama.cpp takes the embedding
        written = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if written is None:
            raise ExportError(f"llama.cpp has no place for {name}. Export it as merged instead.")
        values: Array = tensor.detach().float().cpu().numpy()
        part = name.split(".")[-2]
        if known.permuted and part in turned:
            values = permute(values, turned[part])
        writer.add_tensor(written, values.astype(np.float16 if values.ndim > 1 else np.float32))
    if (factors := frequencies(config)) is not None:
        writer.add_tensor(gguf.TENSOR_NAMES[gguf.MODEL_TENSOR.ROPE_FREQS] + ".weight", factors)
