"""What a sentence-transformers folder may name: decided on its texts alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.register_model.core import NotAModelError
from functions.register_model.embedding import files_of, modules_of

TEXTS: dict[str, Any] = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
        {"idx": 3, "name": "3", "path": "3_Normalize", "type": "sentence_transformers.models.Normalize"},
    ],
    "config.json": {"model_type": "bert"},
    "sentence_bert_config.json": {"max_seq_length": 256, "do_lower_case": False},
    "config_sentence_transformers.json": {"prompts": {"query": "q: "}, "default_prompt_name": "query"},
    "1_Pooling/config.json": {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True},
    "2_Dense/config.json": {"in_features": 8, "out_features": 4},
}
OTHERS = {"tokenizer.json", "vocab.txt", "model.safetensors", "2_Dense/model.safetensors", "modeling.py", "LICENSE"}


def files(texts: dict[str, Any] | None = None, others: set[str] = OTHERS) -> dict[str, str]:
    raw = {name: json.dumps(said).encode() for name, said in (texts or TEXTS).items()}
    return dict(files_of(modules_of(raw["modules.json"]), {*raw, *others}, raw))


def test_a_folder_is_its_modules_files_and_nothing_else() -> None:
    found = files()
    assert list(found) == sorted(found)
    assert {*found} == {*TEXTS, *OTHERS} - {"modeling.py"}
    assert found["2_Dense/model.safetensors"] == found["model.safetensors"] == "weights"


def test_the_new_names_of_modules_are_known() -> None:
    modules = [
        {**TEXTS["modules.json"][0], "type": "sentence_transformers.base.modules.transformer.Transformer"},
        {**TEXTS["modules.json"][1], "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling"},
    ]
    assert [each.kind for each in modules_of(json.dumps(modules).encode())] == ["Transformer", "Pooling"]


@pytest.mark.parametrize(
    ("place", "name", "value", "said"),
    [
        (0, "type", "modeling_mine.Transformer", "code that comes with a model is not run"),
        (1, "type", "os.system", "'os.system'"),
        (1, "type", "sentence_transformers.models.CNN", "'sentence_transformers.models.CNN'"),
        (1, "path", "../1_Pooling", "not one of the model's own"),
        (1, "path", "/etc", "not one of the model's own"),
        (0, "type", "sentence_transformers.models.Pooling", "must begin with one Transformer"),
        (1, "name", "0", "the same name"),
        (1, "path", 7, "modules.json cannot be read: 1.path"),
    ],
)
def test_modules_that_are_not_served_are_named(place: int, name: str, value: Any, said: str) -> None:
    modules = [dict(each) for each in TEXTS["modules.json"]]
    modules[place][name] = value
    with pytest.raises(NotAModelError) as refused:
        files({**TEXTS, "modules.json": modules})
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("file", "changed", "said"),
    [
        ("2_Dense/config.json", {"activation_function": "builtins.eval"}, "activation_function"),
        ("2_Dense/config.json", {"out_features": 2**40}, "out_features"),
        ("1_Pooling/config.json", {"pooling_mode": "mode"}, "pooling_mode"),
        ("sentence_bert_config.json", {"modality_config": {"text": {"method": "push_to_hub"}}}, "modality_config"),
        ("sentence_bert_config.json", {"tokenizer_name_or_path": "somebody/else"}, "tokenizer_name_or_path"),
        ("sentence_bert_config.json", {"model_args": {"adapter": "x"}}, "model_args asks for 'adapter'"),
        ("sentence_bert_config.json", {"max_seq_length": -1}, "max_seq_length"),
        ("config_sentence_transformers.json", {"default_prompt_name": "no"}, "is none of its prompts"),
        ("config_sentence_transformers.json", {"prompts": {"a": "x" * 5000}}, "prompts"),
        ("config.json", {"quantization_config": {"quant_method": "gptq"}}, "quantised"),
    ],
)
def test_settings_that_nobody_has_looked_at_are_refused_with_their_file(
    file: str, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(NotAModelError) as refused:
        files({**TEXTS, file: {**TEXTS[file], **changed}})
    assert said in str(refused.value)
    assert file in str(refused.value)


@pytest.mark.parametrize("file", ["tokenizer.json", "model.safetensors", "2_Dense/model.safetensors"])
def test_a_file_that_is_missing_is_named(file: str) -> None:
    with pytest.raises(NotAModelError, match=file):
        files(others=OTHERS - {file})


def test_pickled_weights_are_not_loaded() -> None:
    others = (OTHERS - {"model.safetensors"}) | {"pytorch_model.bin"}
    with pytest.raises(NotAModelError, match="only weights in safetensors"):
        files(others=others)
