"""What a base model is: which files it has, which are left behind, and every refusal in a sentence with its file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.register_model.core import DEFAULT_CONTEXT, InspectedBase, NotAModelError, check_name, inspect

WHOLE = {
    "config.json": {"max_position_embeddings": 512},
    "tokenizer.json": {},
    "tokenizer_config.json": {"chat_template": "{{ messages }}", "eos_token": "</s>"},
}
INDEX = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}


def inspected(files: dict[str, Any] | None = None, *others: str) -> InspectedBase:
    """What a whole directory is with these files instead (None: without) and others that nobody reads."""
    all_files = {name: content for name, content in (WHOLE | (files or {})).items() if content is not None}
    texts = {n: c if isinstance(c, bytes) else json.dumps(c).encode() for n, c in all_files.items()}
    return inspect({*texts, *others}, texts)


def test_code_pickles_and_weights_that_nobody_loads_are_left_behind() -> None:
    base = inspected(None, "model.safetensors", "consolidated.safetensors", "pytorch_model.bin", "modeling_x.py",
                     "README.md", "tokenizer.py", "merges.txt", "model.safetensors.index.json")  # fmt: skip
    assert base.files == {
        "config.json": "config",
        "merges.txt": "tokenizer",
        "model.safetensors": "weights",
        "tokenizer.json": "tokenizer",
        "tokenizer_config.json": "tokenizer",
    }


def test_the_shards_that_the_index_names_are_the_weights() -> None:
    base = inspected({"model.safetensors.index.json": INDEX}, *INDEX["weight_map"].values(), "stray.safetensors")
    weights = {name for name, role in base.files.items() if role == "weights"}
    assert weights == {*INDEX["weight_map"].values(), "model.safetensors.index.json"}


def test_a_base_without_a_chat_template_is_a_base() -> None:
    assert inspected({"tokenizer_config.json": None}, "model.safetensors").template == ""


def test_the_context_is_read_by_whatever_name_a_family_gives_it() -> None:
    for name in ("n_positions", "max_seq_len", "seq_length"):
        assert inspected({"config.json": {name: 77}}, "model.safetensors").context == 77


def test_context_and_recommended_values_are_read() -> None:
    base = inspected({"temper.json": {"auto": {"learning_rate": 2e-4}}}, "model.safetensors")
    assert (base.context, base.auto) == (512, {"learning_rate": 2e-4})
    assert inspected({"config.json": {}}, "model.safetensors").context == DEFAULT_CONTEXT


def test_the_template_is_the_file_then_the_string_then_the_one_named_default() -> None:
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "chat"}]
    listed = {"tokenizer_config.json": {"chat_template": named}}
    assert inspected(None, "model.safetensors").template == "{{ messages }}"
    assert inspected(listed, "model.safetensors").template == "chat"
    assert (
        inspected({**listed, "chat_template.jinja": "{{ 'ä' }}".encode()}, "model.safetensors").template == "{{ 'ä' }}"
    )


def test_special_tokens_come_from_both_files_and_the_unset_are_empty() -> None:
    tokens = {"special_tokens_map.json": {"bos_token": {"content": "<s>"}, "eos_token": "old", "pad_token": None}}
    known = inspected(tokens, "model.safetensors").tokens
    assert known == {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "", "pad_token": ""}


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "a:b", "ä", "a\n", "a" * 97])
def test_a_name_that_could_be_no_part_of_a_key_or_another_models_is_refused(name: str) -> None:
    with pytest.raises(NotAModelError, match="is no model name; use letters"):
        check_name(name)


def test_names_as_models_have_them_are_taken() -> None:
    for name in ("Qwen2.5-0.5B-Instruct", "a", "9" * 96):
        check_name(name)


REFUSED: list[tuple[dict[str, Any], tuple[str, ...], str]] = [
    ({"config.json": None}, (), "config.json (the architecture) is missing"),
    ({"tokenizer.json": None}, (), "tokenizer.json (the tokenizer) is missing"),
    ({}, ("consolidated.safetensors",), "There is neither model.safetensors nor model.safetensors.index.json"),
    ({"model.safetensors.index.json": INDEX}, ("model-00001-of-00002.safetensors",),
     "model-00002-of-00002.safetensors, which model.safetensors.index.json names, is missing"),
    ({"model.safetensors.index.json": INDEX}, (), "model-00001-of-00002.safetensors and 1 more, which"),
    ({"model.safetensors.index.json": {}}, (), "model.safetensors.index.json cannot be read: weight_map: Field req"),
    ({"model.safetensors.index.json": {"weight_map": {}}}, (), "model.safetensors.index.json names no file"),
    ({"model.safetensors.index.json": {"weight_map": {"a": "../x.safetensors"}}}, (), "index.json cannot be read"),
    ({"config.json": b"{"}, ("model.safetensors",), "config.json cannot be read: Invalid JSON"),
    ({"config.json": b"[]"}, ("model.safetensors",), "config.json cannot be read: Input should be an object"),
    ({"config.json": b"\xff{}"}, ("model.safetensors",), "config.json cannot be read: Invalid JSON"),
    ({"config.json": b'{"a":' * 5000}, ("model.safetensors",), "config.json cannot be read: Invalid JSON"),
    ({"config.json": {"max_position_embeddings": "many"}}, ("model.safetensors",),
     "config.json cannot be read: max_position_embeddings: Input should be a valid integer"),
    ({"config.json": {"max_position_embeddings": 2**60}}, ("model.safetensors",), "config.json cannot be read: max_"),
    ({"generation_config.json": b"no"}, ("model.safetensors",), "generation_config.json cannot be read"),
    ({"special_tokens_map.json": b"no"}, ("model.safetensors",), "special_tokens_map.json cannot be read"),
    ({"temper.json": {"auto": {"learning_rate": "fast"}}}, ("model.safetensors",),
     "temper.json cannot be read: auto.learning_rate: Input should be a valid number"),
    ({"temper.json": {"auto": {"learning_rate": 1e999}}}, ("model.safetensors",), "temper.json cannot be read"),
    ({"temper.json": {"auto": {"a" * 65: 1}}}, ("model.safetensors",), "temper.json cannot be read"),
    ({"tokenizer_config.json": {"chat_template": " \n"}}, ("model.safetensors",), "Its chat template is empty"),
    ({"tokenizer_config.json": {"chat_template": [{"name": "tool_use", "template": "x"}]}}, ("model.safetensors",),
     "None of its chat templates is named default: tool_use"),
    ({"tokenizer_config.json": {"chat_template": 5}}, ("model.safetensors",), "tokenizer_config.json cannot be read"),
    ({"chat_template.jinja": b"\xff"}, ("model.safetensors",), "chat_template.jinja is not UTF-8 text"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "others", "sentence"), REFUSED, ids=[each[2][:40] for each in REFUSED])
def test_what_is_refused_is_said_with_its_file(files: dict[str, Any], others: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(NotAModelError) as refused:
        inspected(files, *others)
    assert sentence in str(refused.value)
    assert str(refused.value).endswith(".")
    assert len(str(refused.value)) < 300
