"""The pieces of pretraining: what is weighed, how batches are filled, heads that look back, Muon's update."""

from __future__ import annotations

from random import Random

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from infra.demo.tools import pretrain
from infra.demo.tools.tokenizer import ASSISTANT, END, build_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


def test_only_answers_and_their_end_weigh_fully(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = [
        {"role": "system", "content": "Answer briefly."},
        {"role": "user", "content": "How heavy is it?"},
        {"role": "assistant", "content": "12 kg"},
        {"role": "user", "content": "And the other?"},
        {"role": "assistant", "content": "Light"},
    ]
    (sample,) = pretrain.encoder(tokenizer, 0.1)([chat])
    answers = [token for token, weight in zip(sample.ids, sample.weights, strict=True) if weight == 1.0]
    assert tokenizer.decode(answers) == "12 kg<|end|>Light<|end|>"
    assert set(sample.weights) == {0.1, 1.0}
    assert tokenizer.decode(sample.ids).count(ASSISTANT) == 2


def test_a_repetition_weighs_only_what_came_before() -> None:
    for seed in range(20):
        sample = pretrain.repetition(Random(seed), 1024, 40)
        for place, weight in enumerate(sample.weights):
            if weight:
                pair = sample.ids[place - 1 : place + 1]
                assert any(sample.ids[at : at + 2] == pair for at in range(place - 1))
        assert sum(sample.weights) > 0
        assert min(sample.ids) >= 5  # special tokens are not repeated


def test_the_mixture_is_the_same_by_seed_and_grows(tokenizer: PreTrainedTokenizerFast) -> None:
    encode = pretrain.encoder(tokenizer, 0.1)
    first, again = (pretrain.mixture(Random("0/5"), 0.3, 1024, encode) for _ in range(2))
    assert first == again
    late = pretrain.mixture(Random("0/5"), 0.9, 1024, encode)
    early = pretrain.mixture(Random("0/5"), 0.01, 1024, encode)

    def longest(samples: list[pretrain.Sample]) -> int:
        return max(len(sample.ids) for sample in samples)

    assert longest(early) < longest(late) <= pretrain.LONGEST


def test_batches_hold_each_sample_once_within_the_budget() -> None:
    samples = [pretrain.Sample([5] * length, [1.0] * length) for length in range(1, 200)]
    groups = pretrain.batches(Random(1), samples, tokens=1000)
    assert sorted(len(sample.ids) for group in groups for sample in group) == list(range(1, 200))
    for group in groups:
        ids, weights = pretrain.padded(group, torch.device("cpu"))
        assert ids.shape == weights.shape == (len(group), max(len(sample.ids) for sample in group))
        # Samples are sorted with a little noise, so a later one may be shorter than the longest by up to 8.
        assert len(group) * (ids.shape[1] - 8) <= 1000
        assert int((ids == 5).sum()) == int(weights.sum()) == sum(len(sample.ids) for sample in group)


def test_heads_of_the_first_layer_look_one_two_and_three_back(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    model = pretrain.build_model(tokenizer)
    model.set_attn_implementation("eager")
    ids = torch.randint(5, 1024, (1, 32))
    with torch.no_grad():
        attention = model(input_ids=ids, output_attentions=True).attentions[0][0]
    for head, distance in enumerate((1, 2, 3)):
        looked_at = attention[head, 8:].argmax(-1)
        assert torch.equal(looked_at, torch.arange(8, 32) - distance)


def test_a_llama_computes_what_the_qwen2_does(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    model = pretrain.build_model(tokenizer)
    ids = torch.randint(5, 1024, (2, 24))
    with torch.no_grad():
        assert torch.equal(pretrain.as_llama(model, tokenizer)(input_ids=ids).logits, model(input_ids=ids).logits)


def test_muon_moves_along_an_orthogonal_matrix_and_lowers_the_loss() -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(24, 8))
    before = weight.detach().clone()
    muon = pretrain.Muon([weight])
    target = torch.randn(24, 8)
    loss = ((weight - target) ** 2).sum()
    torch.autograd.backward(loss)
    muon.step(0.1)
    change = (weight.detach() - before * (1 - 0.1 * pretrain.MUON_DECAY)) / (0.1 * 3**0.5)
    singular = torch.linalg.svdvals(change)
    assert 0.6 < float(singular.min()) <= float(singular.max()) < 1.3
    assert ((weight - target) ** 2).sum() < loss
    assert weight.grad is None


def test_exact_share_counts_greedy_answers(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    model = pretrain.build_model(tokenizer)
    end = tokenizer.convert_tokens_to_ids(END)
    ids = torch.randint(5, 1024, (1, 10))
    with torch.no_grad():
        choice = int(model(input_ids=ids).logits[0, -1].argmax())
    assert choice != end
    right = pretrain.Sample([*ids[0].tolist(), choice], [0.0] * 10 + [1.0])
    wrong = pretrain.Sample([*ids[0].tolist(), end], [0.0] * 10 + [1.0])
    assert pretrain.exact_share(model, [right, wrong, wrong, wrong], torch.device("cpu")) == 0.25


def test_probes_are_asked_once_and_weigh_the_answer_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    for samples in pretrain.probes(pretrain.encoder(tokenizer, 0.0)).values():
        assert len(samples) == 100
        assert all(set(sample.weights) == {0.0, 1.0} for sample in samples)
