"""A base model of a few thousand random weights, its adapters and their manifests: real files, made in a moment."""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from contracts.manifest import Manifest, ManifestFile, ManifestRef
from contracts.ports import Blobs

SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
TEXT = ["the quick brown fox jumps over the lazy dog", "what is the weight of the blue kettle?", "größer, 東京, 🙂"]
TEMPLATE = (
    "{%- if tools %}{{ '<|system|>' + (tools | tojson) + '<|end|>' }}{% endif -%}"
    "{%- for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor -%}"
    "{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif -%}"
)
CONTEXT = 512


def build_base(folder: Path, seed: int = 0, template: str | None = TEMPLATE, **config: Any) -> Path:
    """Write a Qwen2-shaped base with a byte-level tokenizer."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(TEXT, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>", pad_token="<|pad|>")
    tokenizer.chat_template = template
    torch.manual_seed(seed)
    shape = {
        "vocab_size": 300,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.3,  # far from uniform, so that answers differ
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    model = Qwen2ForCausalLM(Qwen2Config(**{**shape, **config}))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def build_adapter(folder: Path, base: Path, seed: int, std: float = 0.3, **config: Any) -> Path:
    """Write a random LoRA adapter as PEFT does."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    lora = LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **config})
    with _peft_warnings_ignored():
        peft = get_peft_model(model, lora)
    for name, weight in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=std)
    peft.save_pretrained(folder)
    return folder


def plain(base: Path, adapter: Path | None) -> Any:
    """The model as transformers and PEFT load it, to compare with."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is not None:
        with _peft_warnings_ignored():
            model = PeftModel.from_pretrained(model, adapter)
    return model.eval()


@contextmanager
def _peft_warnings_ignored() -> Iterator[None]:
    """PEFT 0.21 reads an attribute that transformers 5.23 calls deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        yield


async def store(
    blobs: Blobs, prefix: str, folder: Path, base: ManifestRef | None = None, kind: str = "base", **changes: Any
) -> ManifestRef:
    """Put a model's files and its manifest; `changes` falsify the manifest."""
    files = []
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".json", ".jinja")):
        data = path.read_bytes()
        key = f"{prefix}/{path.name}"
        await blobs.put(key, data)
        role = "weights" if path.suffix == ".safetensors" else "tokenizer" if "token" in path.name else "config"
        sha = hashlib.sha256(data).hexdigest()
        files.append(ManifestFile(path=path.name, key=key, sha256=sha, bytes=len(data), role=role))
    template_sha256 = hashlib.sha256(TEMPLATE.encode()).hexdigest()
    content = {
        "kind": kind,
        "base": base,
        "files": tuple(files),
        "template_sha256": template_sha256,
        "context": CONTEXT,
    }
    manifest = Manifest.model_validate({**content, **changes})
    await blobs.put(f"{prefix}/manifest.json", manifest.encoded())
    return ManifestRef(key=f"{prefix}/manifest.json", sha256=manifest.digest())
