"""Bases of every ordinary kind are taken as people have them, or refused at `models add` in a sentence that is true."""

from __future__ import annotations

import base64
import json
import pickle
from array import array
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, Gemma3Config, Gemma3ForConditionalGeneration

from contracts.events.models import ModelRegistered
from functions.generate_text import trial as serving
from functions.prepare_job.measure import measure, shape_of
from functions.prepare_job.tokenise import Tokens
from functions.register_model.core import NotAModelError
from functions.register_model.work import register
from functions.train_model import trial as training
from infra.adapters.memory import MemoryBlobs
from tests.functional.bases import LLAMA, SameProcess, family, gguf
from tests.unit.generate_text.tiny import TEMPLATE, build_base

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

FAMILIES = ("llama", "qwen2", "qwen3", "qwen2_moe", "gemma2", "gemma3_text", "mistral", "mixtral", "phi3", "gpt_neox",
            "gpt2", "falcon", "bloom", "olmo2", "granite", "starcoder2", "smollm3", "glm4", "cohere2", "opt",
            "gpt_oss")  # fmt: skip
TEXT = "Das Schloß №7 öffnet um 12:30 Uhr. def f(x): return x**2"


async def taken(source: Path, tmp_path: Path, trial: bool = False) -> tuple[ModelRegistered, Path, list[str]]:
    """Register a base; returns what is announced, its stored files in a directory, what was said."""
    blobs, told = MemoryBlobs(), list[str]()
    data, manifest = await register(blobs, SameProcess(), "mine", source, told.append, trial)
    stored = tmp_path / "stored"
    stored.mkdir(exist_ok=True)
    for file in manifest.files:
        (stored / file.path).write_bytes(await blobs.get(file.key))
    again, _ = await register(MemoryBlobs(), SameProcess(), "mine", source)
    assert again == data, "the same source is the same base"
    return data, stored, told


async def refusal(source: Path) -> str:
    """The sentence with which a base is refused."""
    with pytest.raises(NotAModelError) as refused:
        await register(MemoryBlobs(), SameProcess(), "mine", source, trial=True)
    assert str(refused.value).endswith(".")
    return str(refused.value)


def same(one: Path, other: Path, name: str = "model.safetensors") -> bool:
    left, right = load_file(one / name), load_file(other / name)
    return left.keys() == right.keys() and all(bool((left[key] == right[key]).all()) for key in left)


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **values}))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_base_of_each_family_is_tuned_and_then_served_exactly(name: str, tmp_path: Path) -> None:
    base = family(tmp_path / "base", name)
    trained = training.trial({"base": str(base), "folder": str(tmp_path)})
    assert trained["refused"] is None
    assert serving.trial({"folder": str(tmp_path)}) == {"refused": None}
    tokens = Tokens(array("i", [*range(2, 14)] * 8), bytearray(96 * b"\1"), [12] * 8, groups_made=8)
    spec = {"model_dir": str(tmp_path / "model"), "tuning": {"kind": "lora", "r": 4}, "device": "cpu", "threads": 1,
            "seed": 1, "dtype": "auto", "n_epochs": 1, "batch_size": 4}  # fmt: skip
    shape = shape_of(spec)
    adapter = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert shape.trainable == sum(tensor.numel() for tensor in adapter.values()), "as many as are trained"
    assert measure(spec, shape, tokens, None)["step_seconds"] > 0
    told = load_file(tmp_path / "trial.safetensors")
    save_file({"ids": told["ids"], "logits": told["logits"] * 1.01}, tmp_path / "trial.safetensors")
    assert "does not compute for its family" in str(serving.trial({"folder": str(tmp_path)})["refused"])


@pytest.mark.parametrize(
    ("name", "config", "sentence"),
    [
        ("mamba", {"state_size": 8}, "Models of its family cannot be tuned here"),
        ("qwen3_5_text", {"layer_types": ["linear_attention", "full_attention", "full_attention"]},
         "models with layers of type linear_attention are not served"),
    ],
)  # fmt: skip
async def test_a_family_that_cannot_be_tuned_or_served_is_refused(
    name: str, config: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    assert sentence in await refusal(family(tmp_path / "base", name, **config))


async def test_a_base_whose_pad_ends_turns_whose_weights_are_shards_and_whose_ends_are_several_is_taken(
    tmp_path: Path,
) -> None:
    base = family(tmp_path / "base", "llama", tie_word_embeddings=False, eos_token_id=[1, 4])
    model = AutoModelForCausalLM.from_pretrained(base)
    (base / "model.safetensors").unlink()
    model.save_pretrained(base, max_shard_size="20KB")
    assert len(list(base.glob("*.safetensors"))) > 1
    (base / "generation_config.json").unlink()
    data, stored, told = await taken(base, tmp_path, trial=True)
    assert data.parameters == model.num_parameters()
    assert {path.name for path in base.glob("*.safetensors")} == {path.name for path in stored.glob("*.safetensors")}
    assert any("can be tuned and served" in line for line in told)


async def test_a_gguf_file_becomes_the_directory_that_it_was_made_of(tmp_path: Path) -> None:
    file = gguf(tmp_path / "tiny.gguf")
    data, stored, _ = await taken(file, tmp_path, trial=True)
    assert data.context == 128
    assert same(stored, tmp_path / "as-directory"), "float32 is kept as it is"
    assert "quantization_config" not in json.loads((stored / "config.json").read_text())
    one, other = (AutoTokenizer.from_pretrained(each) for each in (stored, tmp_path / "as-directory"))
    assert one.chat_template == TEMPLATE
    assert one.eos_token == "<|end|>"
    prompt = "<|user|>größer, 東京<|end|>"
    assert one(prompt, add_special_tokens=False)["input_ids"] == other(prompt, add_special_tokens=False)["input_ids"]


async def test_a_gguf_file_that_cannot_be_read_is_refused_with_what_can(tmp_path: Path) -> None:
    file = gguf(tmp_path / "tiny.gguf", "rwkv7")
    said = await refusal(file)
    assert "of the architecture rwkv7 cannot be read; those of" in said
    assert "llama" in said
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert "no GGUF file, or cut short" in await refusal(file)
    file.write_bytes(b"PK\3\4")
    assert "is a file, but no GGUF file" in await refusal(file)


async def test_pickled_weights_become_safetensors_and_nothing_in_them_is_executed(tmp_path: Path) -> None:
    base = family(tmp_path / "base", "llama")
    as_it_was = family(tmp_path / "same", "llama")
    state = AutoModelForCausalLM.from_pretrained(base).state_dict()
    (base / "model.safetensors").unlink()
    torch.save(state, base / "pytorch_model.bin")
    _, stored, _ = await taken(base, tmp_path)
    assert same(stored, as_it_was)
    torch.save({name: tensor for name, tensor in state.items() if "layers.1" not in name}, base / "pytorch_model.bin")
    assert "The weights of model.layers.1." in await refusal(base)
    (base / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    assert "cannot be read without running what is in it" in await refusal(base)
    assert not (tmp_path / "exploded").exists()


class Bomb:
    """A pickle that makes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


async def test_a_sentencepiece_vocabulary_becomes_a_tokenizer_that_reads_the_same(tmp_path: Path) -> None:
    base = family(tmp_path / "base", "llama")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json"):
        (base / name).unlink(missing_ok=True)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(f"{TEXT} {number} the quick brown fox" for number in range(200)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(base / "tokenizer"), vocab_size=450, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity",
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    chat = "{{ messages[0]['content'] }}{{ messages[1]['content'] if messages[1:] }}"
    edit(base / "tokenizer_config.json", tokenizer_class="LlamaTokenizer", eos_token="</s>", chat_template=chat)
    _, stored, _ = await taken(base, tmp_path)
    made = AutoTokenizer.from_pretrained(stored)
    assert made.is_fast
    own = sentencepiece.SentencePieceProcessor(model_file=str(base / "tokenizer.model"))
    for text in (TEXT, "fox", "ein Wort, 東京"):
        assert made(text, add_special_tokens=False)["input_ids"] == own.encode(text), text


async def test_a_tiktoken_vocabulary_becomes_a_tokenizer(tmp_path: Path) -> None:
    base = family(tmp_path / "base", "llama")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (base / name).unlink(missing_ok=True)
    ranks = [bytes([byte]) for byte in range(256)] + [b"th", b"the", b"qu"]
    lines = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(ranks)]
    (base / "tokenizer.model").write_text("\n".join(lines))
    edit(base / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast", eos_token="<|end|>",
         added_tokens_decoder={"259": {"content": "<|end|>", "special": True}})  # fmt: skip
    _, stored, _ = await taken(base, tmp_path)
    made = AutoTokenizer.from_pretrained(stored)
    assert made.decode(made(TEXT, add_special_tokens=False)["input_ids"]) == TEXT
    assert made("the", add_special_tokens=False)["input_ids"] == [257]


@pytest.mark.parametrize("where", ["chat_template.json", "chat_templates", "additional_chat_templates", "list"])
async def test_a_chat_template_is_found_wherever_it_lies(where: str, tmp_path: Path) -> None:
    base = build_base(tmp_path / "base", template=None)
    tools = "{{ tools }}" + TEMPLATE
    if where == "chat_template.json":
        edit(base / where, chat_template=TEMPLATE)
    elif where == "list":
        named = [{"name": "default", "template": TEMPLATE}, {"name": "tool_use", "template": tools}]
        edit(base / "tokenizer_config.json", chat_template=named)
    else:
        (base / "chat_template.jinja").write_text(TEMPLATE)
        (base / where).mkdir()
        (base / where / "tool_use.jinja").write_text(tools)
    _, stored, _ = await taken(base, tmp_path)
    found = AutoTokenizer.from_pretrained(stored).chat_template
    assert found == (TEMPLATE if where == "chat_template.json" else {"default": TEMPLATE, "tool_use": tools})


async def test_what_a_user_should_know_is_said_when_a_base_is_added(tmp_path: Path) -> None:
    base = build_base(tmp_path / "base", template=None, vocab_size=290)
    _, _, told = await taken(base, tmp_path, trial=True)
    assert any("it has no chat template: only prompt/completion rows" in line for line in told)
    assert any("its tokenizer has 300 tokens, its embeddings 290" in line for line in told)
    moe = family(tmp_path / "moe", "mixtral")
    _, _, told = await taken(moe, tmp_path, trial=True)
    assert any("its experts are not adapted by LoRA" in line for line in told)


async def test_of_a_model_that_sees_too_the_part_that_reads_is_taken(tmp_path: Path) -> None:
    base = build_base(tmp_path / "base")
    for stale in ("config.json", "generation_config.json", "model.safetensors"):
        (base / stale).unlink(missing_ok=True)
    eyes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 28, "patch_size": 14}  # fmt: skip
    both = Gemma3ForConditionalGeneration(
        Gemma3Config(text_config=LLAMA, vision_config=eyes, mm_tokens_per_image=4, image_token_index=5)
    )
    both.save_pretrained(base)
    _, stored, _ = await taken(base, tmp_path, trial=True)
    assert AutoConfig.from_pretrained(stored).model_type == "gemma3_text"
    ids = torch.arange(12)[None] + 10
    with torch.no_grad():
        read = AutoModelForCausalLM.from_pretrained(stored).eval()(input_ids=ids).logits
        assert torch.equal(read, both.eval()(input_ids=ids).logits)


async def test_what_is_no_base_is_named(tmp_path: Path) -> None:
    base = family(tmp_path / "base", "llama")
    config = (base / "config.json").read_text()
    edit(base / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    assert "Its weights are quantised (gptq)" in await refusal(base)
    (base / "config.json").write_text(config)
    edit(base / "config.json", model_type="own", auto_map={"AutoModelForCausalLM": "modeling_own.Own"})
    assert "code that comes with a model is not run" in await refusal(base)
    (base / "config.json").write_text(config)
    edit(base / "config.json", num_hidden_layers=4)
    assert "The weights of model.layers.3." in await refusal(base)
    (base / "config.json").write_text(config)
    edit(base / "config.json", intermediate_size=40)
    assert "is stored as [" in await refusal(base)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    edit(adapter / "adapter_config.json", peft_type="LORA", base_model_name_or_path="acme/base-7b")
    said = await refusal(adapter)
    assert "is an adapter (LORA), not a base model; merge it into its base or add that: acme/base-7b" in said
