"""What a drawn token is, and when rounding could make it another one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from functions.generate_text.sampling import Chooser, Sampling, choose

NOISE = 5e-5
VOCABULARY = 512
KINDS = [(temperature, top_p) for temperature in (0.05, 0.7, 1.0, 2.0) for top_p in (1.0, 0.9, 0.3)]


def rows(seed: int, count: int = 200) -> Tensor:
    """Logits from nearly flat to nearly certain, all about twenty in size, so that the noise is about 1e-3."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.logspace(-2, 1, count)[:, None]
    return 20 + spread * torch.randn(count, VOCABULARY, generator=generator)


def choosers(count: int, temperature: float, top_p: float) -> list[Chooser]:
    return [Chooser(Sampling(1, temperature, top_p, seed=row)) for row in range(count)]


def disturbed(logits: Tensor, tokens: list[int]) -> list[Tensor]:
    """The same logits, each off by as much as the noise: by chance, and at worst for the chosen token's borders."""
    most = NOISE * logits.abs().amax(-1, keepdim=True).clamp(min=1.0)
    chance = torch.empty_like(logits).uniform_(-1, 1, generator=torch.Generator().manual_seed(3))
    place, chosen = torch.arange(VOCABULARY)[None], torch.tensor(tokens)[:, None]
    lower, upper = torch.where(place < chosen, 1.0, -1.0), torch.where(place <= chosen, -1.0, 1.0)
    return [logits + most * way * 0.999 for way in (chance, chance.sign(), lower, upper)]


@pytest.mark.parametrize(("temperature", "top_p"), KINDS)
def test_a_sure_token_is_chosen_whatever_rounding_does(temperature: float, top_p: float) -> None:
    logits = rows(1)
    tokens, sure = choose(logits, choosers(len(logits), temperature, top_p), NOISE)
    assert len(set(tokens)) > 50
    assert any(sure)
    turned = set()
    for other in disturbed(logits, tokens):
        again, _ = choose(other, choosers(len(logits), temperature, top_p), NOISE)
        turned |= {row for row, (one, two) in enumerate(zip(tokens, again, strict=True)) if one != two}
    assert turned, "noise that turns nothing would prove nothing"
    assert not [row for row in turned if sure[row]]


def test_flat_distributions_are_decided_alone_no_more_often_than_they_must() -> None:
    logits = rows(2)[:100]
    tokens, sure = choose(logits, choosers(len(logits), 1.0, 1.0), NOISE)
    turned = set()
    for other in disturbed(logits, tokens):
        again, _ = choose(other, choosers(len(logits), 1.0, 1.0), NOISE)
        turned |= {row for row, (one, two) in enumerate(zip(tokens, again, strict=True)) if one != two}
    assert len(turned) <= sure.count(False) <= 2 * len(turned)


def test_a_token_that_only_rounding_keeps_out_of_the_nucleus_may_stand_before_the_chosen_one() -> None:
    likely = torch.tensor([0.09999, 0.8, 0.10001]).log() + 20
    logits = torch.full((1, VOCABULARY), -20.0)
    logits[0, :3] = likely
    drawn = next(each for seed in range(1000) if (each := Chooser(Sampling(1, 1.0, 0.85, seed=seed))).draw < 0.05)
    assert choose(logits, [drawn], NOISE) == ([1], [False])
    logits[0, :3] = likely + torch.tensor([NOISE * 20, 0, -NOISE * 20])
    assert choose(logits, [drawn], NOISE)[0] == [0]
