"""The demo base that ships: small, loadable, its template whole, its tokenizer the script's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from jinja2.exceptions import TemplateError
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from infra.demo import data
from infra.demo.tools import pretrain
from infra.demo.tools.tokenizer import build_tokenizer

BASE = Path(pretrain.__file__).parents[1] / "base"
CHAT = [
    {"role": "system", "content": "Answer briefly."},
    {"role": "user", "content": "How heavy is the Kolm pump?"},
    {"role": "assistant", "content": "412 kg"},
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(BASE)


def test_it_is_small_and_holds_no_code_and_no_pickle() -> None:
    files = [path for path in BASE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 5_000_000
    assert {path.suffix for path in files} <= {".json", ".jinja", ".safetensors", ".md"}


def test_its_weights_are_finite_and_of_the_scripts_shape(tokenizer: PreTrainedTokenizerFast) -> None:
    made = pretrain.as_llama(pretrain.build_model(tokenizer), tokenizer)
    expected = {name: weight.shape for name, weight in made.named_parameters()}
    with safe_open(str(BASE / "model.safetensors"), framework="pt") as stored:
        found = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
    assert {name: weight.shape for name, weight in found.items()} == expected
    assert all(torch.isfinite(weight).all() for weight in found.values())


def test_its_tokenizer_is_the_one_the_script_builds(tokenizer: PreTrainedTokenizerFast) -> None:
    built = build_tokenizer()
    assert json.loads(tokenizer.backend_tokenizer.to_str()) == json.loads(built.backend_tokenizer.to_str())
    assert tokenizer.chat_template == built.chat_template


@pytest.mark.parametrize("content", ["412 kg", " leading", "DASI >34 (≥4 METs)", "Größe\n\n日本 x1", "'quoted' 3.5 %"])
def test_text_survives_the_tokenizer_and_digits_stand_alone(tokenizer: PreTrainedTokenizerFast, content: str) -> None:
    ids = tokenizer(content)["input_ids"]
    assert tokenizer.decode(ids) == content
    assert "".join(tokenizer.decode([token]) for token in ids if content.isascii()) in ("", content)
    digits = [tokenizer.decode([token]) for token in ids if any(c.isdigit() for c in tokenizer.decode([token]))]
    assert all(len(digit) == 1 for digit in digits)


def test_the_template_marks_the_answer_and_extends_the_prompt(tokenizer: PreTrainedTokenizerFast) -> None:
    whole = tokenizer.apply_chat_template(CHAT, return_dict=True, return_assistant_tokens_mask=True)
    prompt = tokenizer.apply_chat_template(CHAT[:-1], add_generation_prompt=True, return_dict=True)["input_ids"]
    assert whole["input_ids"][: len(prompt)] == prompt
    answer = [token for token, mask in zip(whole["input_ids"], whole["assistant_masks"], strict=True) if mask]
    assert answer == whole["input_ids"][len(prompt) :]
    assert tokenizer.decode(answer) == "412 kg<|end|>"


def test_the_template_knows_developers_but_neither_tools_nor_their_role(tokenizer: PreTrainedTokenizerFast) -> None:
    developer = [{"role": "developer", "content": "Answer briefly."}, *CHAT[1:]]
    plain = tokenizer.apply_chat_template(CHAT, tokenize=False)
    assert tokenizer.apply_chat_template(developer, tokenize=False) == plain
    tool = {"type": "function", "function": {"name": "weigh", "parameters": {"type": "object", "properties": {}}}}
    assert tokenizer.apply_chat_template(CHAT, tools=[tool], tokenize=False) == plain
    with pytest.raises(TemplateError, match="knows the roles system, user and assistant, not tool"):
        tokenizer.apply_chat_template([*CHAT, {"role": "tool", "content": "412"}], tokenize=False)


def test_it_answers_and_stops(tokenizer: PreTrainedTokenizerFast) -> None:
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id == 1
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id == 0
    rows = data.make_sets(0)[2].test[:8]
    tokenizer.padding_side = "left"
    prompts = tokenizer.apply_chat_template(
        [data.prompt(row) for row in rows], add_generation_prompt=True, padding=True, return_tensors="pt",
        return_dict=True,
    )  # fmt: skip
    replies = model.generate(**prompts, max_new_tokens=64)[:, prompts["input_ids"].shape[1] :]
    assert all((reply == tokenizer.eos_token_id).any() for reply in replies)
    assert all(tokenizer.decode(reply, skip_special_tokens=True) for reply in replies)


def test_it_reads_what_it_was_pretrained_to_read(tokenizer: PreTrainedTokenizerFast) -> None:
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    quotes = pretrain.probes(pretrain.encoder(tokenizer, 0.0))["quote/3"]
    assert pretrain.exact_share(model, quotes, torch.device("cpu")) >= 0.4


def test_it_says_what_auto_means() -> None:
    auto = json.loads((BASE / "temper.json").read_text(encoding="utf-8"))["auto"]
    assert 0 < auto["learning_rate"] < 0.1
    assert 1 <= auto["n_epochs"] <= 50
