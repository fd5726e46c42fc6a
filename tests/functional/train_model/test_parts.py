"""Batches, loss, memory and checkpoint folders, each on a tiny real model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM, GraniteConfig, GraniteForCausalLM

from functions.train_model.batches import LabelLoss, Rows
from functions.train_model.checkpoints import Folder
from functions.train_model.core import RecipeError
from functions.train_model.lora import merge_where_cheaper
from functions.train_model.model import fit_micro_batch
from tests.functional.train_model.child import SHAPE, VOCABULARY, tiny_model, tokens_file

# PEFT asks transformers by the old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")


def build(family: str, folder: Path) -> Any:
    torch.manual_seed(1)
    if family == "gemma2":  # caps its logits
        return Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=16, final_logit_softcapping=2.0))
    if family == "granite":  # scales its logits
        return GraniteForCausalLM(GraniteConfig(**SHAPE, logits_scaling=3.0))
    return AutoModelForCausalLM.from_pretrained(tiny_model(folder, family))


@pytest.mark.parametrize("family", ["qwen2", "llama", "gemma2", "granite"])
def test_the_loss_over_labels_equals_the_loss_over_everything_masked(family: str, tmp_path: Path) -> None:
    model = build(family, tmp_path / "model")
    rows = Rows(str(tokens_file(tmp_path / "t.safetensors", rows=5)), VOCABULARY)
    picked = [3, 0, 4]

    expected = torch.zeros(())
    right = 0
    for row in picked:  # one by one: no padding, all logits
        span = slice(int(rows.offsets[row]), int(rows.offsets[row + 1]))
        ids, marks = rows.ids[span].long(), rows.marks[span].bool()
        logits = model(input_ids=ids[None]).logits[0, :-1][marks[1:]]
        expected = expected + cross_entropy(logits, ids[1:][marks[1:]], reduction="sum")
        right += int((logits.argmax(-1) == ids[1:][marks[1:]]).sum())
    torch.autograd.backward(expected)
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()

    score = LabelLoss(model)
    loss, correct = score(model, rows.collate(picked))
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert int(correct) == right
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-5)


def test_outside_the_loss_the_model_answers_as_before(tmp_path: Path) -> None:
    model = build("qwen2", tmp_path / "model")
    rows = Rows(str(tokens_file(tmp_path / "t.safetensors", rows=5)), VOCABULARY)
    ids = torch.arange(8)[None]
    before = model(input_ids=ids).logits
    LabelLoss(model)(model, rows.collate([0]))
    assert torch.equal(model(input_ids=ids).logits, before)


def test_a_process_without_rows_adds_nothing_to_the_loss(tmp_path: Path) -> None:
    model = build("qwen2", tmp_path / "model")
    rows = Rows(str(tokens_file(tmp_path / "t.safetensors", rows=5)), VOCABULARY)
    batch = rows.collate([])
    loss, correct = LabelLoss(model)(model, batch)
    torch.autograd.backward(loss)
    assert (loss.item(), int(correct), batch["tokens"]) == (0.0, 0, 0)
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_a_row_without_a_trained_token_is_refused(tmp_path: Path) -> None:
    path = tokens_file(tmp_path / "t.safetensors", lengths=[6, 8, 10])
    tensors = load_file(path)
    tensors["labels_mask"][6:14] = 0
    tensors["labels_mask"][6] = 1  # nothing precedes it, so nothing predicts it
    save_file(tensors, path)
    with pytest.raises(RecipeError, match="Row 1 has no token to train on") as failure:
        Rows(str(path), VOCABULARY)
    assert failure.value.code == "no_labels"


def test_tokens_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    path = tokens_file(tmp_path / "t.safetensors")
    with pytest.raises(RecipeError, match="outside the model's 8 embeddings"):
        Rows(str(path), 8)


def adapted(folder: Path, **changes: Any) -> Any:
    """A model with a LoRA adapter whose second half is not zero."""
    torch.manual_seed(2)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", **changes)
    model = get_peft_model(build("qwen2", folder), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.mark.parametrize("length", [4, 60])  # too few tokens to merge for, and enough
@pytest.mark.parametrize("not_intel", [False, True] if torch.backends.mkldnn.is_available() else [False])
def test_merged_lora_layers_compute_and_learn_what_pefts_do(
    length: int, not_intel: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.train_model.lora.NOT_INTEL", not_intel)
    ids = torch.randint(0, VOCABULARY, (3, length), generator=torch.Generator().manual_seed(5))
    results = []
    for merged in (False, True):
        model = adapted(tmp_path / "model")
        assert merge_where_cheaper(model) == 14 if merged else True
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
        with model.disable_adapter(), torch.no_grad():
            plain = model(input_ids=ids, labels=ids).loss
        results.append((loss, plain, gradients))
    (loss, plain, gradients), (merged_loss, merged_plain, merged_gradients) = results
    assert merged_loss.item() == pytest.approx(loss.item(), rel=1e-5)
    assert merged_plain.item() == plain.item() != loss.item()
    for name, gradient in gradients.items():
        torch.testing.assert_close(merged_gradients[name], gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("changes", [{"lora_dropout": 0.1}, {"use_dora": True}])
def test_other_kinds_of_adapter_keep_pefts_own_layers(changes: dict[str, Any], tmp_path: Path) -> None:
    assert merge_where_cheaper(adapted(tmp_path / "model", **changes)) == 0


def fitted(micro: int, largest: int, with_checkpointing: int = 0) -> tuple[int, list[dict[str, Any]]]:
    """fit_micro_batch on a device with room for `largest` rows, or `with_checkpointing` rows when recomputing."""
    said: list[dict[str, Any]] = []
    room = [largest]

    def attempt(rows: int) -> None:
        if rows > room[0]:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    return fit_micro_batch(micro, attempt, lambda: room.__setitem__(0, with_checkpointing), said.append), said


def test_a_batch_that_fits_is_not_touched() -> None:
    assert fitted(8, 8) == (8, [])


def test_the_micro_batch_is_halved_until_it_fits_and_each_step_is_said() -> None:
    micro, said = fitted(8, 3)
    assert micro == 2
    assert [(m["type"], m["micro_batch"], m["gradient_checkpointing"]) for m in said] == [
        ("adjusted", 4, False),
        ("adjusted", 2, False),
    ]


def test_activations_are_recomputed_when_one_row_is_too_much() -> None:
    micro, said = fitted(2, 0, with_checkpointing=1)
    assert micro == 1
    assert [m["gradient_checkpointing"] for m in said] == [False, True]


def test_a_row_that_never_fits_fails_with_a_reason() -> None:
    with pytest.raises(RecipeError, match="does not fit") as failure:
        fitted(2, 0)
    assert failure.value.code == "out_of_memory"


def test_an_error_other_than_memory_is_not_swallowed() -> None:
    def attempt(_rows: int) -> None:
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        fit_micro_batch(4, attempt, lambda: None, lambda _message: None)


def test_a_checkpoint_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    final = tmp_path / "step-1"
    folder = Folder(final)
    folder.place("a.json", "config").write_text("{}")
    assert not final.exists()
    files = folder.commit()
    assert [(f["path"], f["bytes"], f["role"]) for f in files] == [("a.json", 2, "config")]
    assert [p.name for p in tmp_path.iterdir()] == ["step-1"]
    again = Folder(final)
    again.place("b.json", "config").write_text("{}")
    again.commit()
    assert [p.name for p in final.iterdir()] == ["b.json"]
