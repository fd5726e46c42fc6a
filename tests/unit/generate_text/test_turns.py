"""Tenants take turns: steps are counted, not seconds."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from functions.generate_text.batch import Base, BatchLimits, Statistics
from functions.generate_text.generation import Generation, OverloadedError
from functions.generate_text.sampling import Sampling
from tests.unit.generate_text.tiny import build_base

LONG = Sampling(max_tokens=100, temperature=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_base(tmp_path_factory.mktemp("base"))


class Batch:
    """A base whose steps the test makes itself."""

    def __init__(self, folder: Path, **limits: int) -> None:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.base, self.statistics = Base(model, BatchLimits(**limits)), Statistics()

    def ask(
        self, tenant: str, count: int = 1, sampling: Sampling = LONG, prompt: Iterable[int] = (7, 8)
    ) -> list[Generation]:
        asked = [Generation(list(prompt), None, sampling, stream=False, tenant=tenant) for _ in range(count)]
        for each in asked:
            self.base.waiting.add(each)
        return asked

    def step(self, times: int = 1) -> None:
        with torch.inference_mode():
            for _ in range(times):
                self.base.step(self.statistics)

    def finish(self) -> None:
        while self.base.waiting or self.base.running:
            self.step()

    def rows(self) -> dict[str, int]:
        tenants = [g.tenant for g in self.base.running]
        return {tenant: tenants.count(tenant) for tenant in tenants}


async def test_another_tenant_is_next_while_one_has_thousands_waiting(folder: Path) -> None:
    batch = Batch(folder, rows=4)
    batch.ask("a", 2052 - 4)
    batch.step()
    batch.ask("a", 4)
    assert batch.rows() == {"a": 4}
    (asked,) = batch.ask("b")
    batch.step()
    assert len(asked.tokens) == 2  # one of the prefill and one of the step in which it joined
    assert batch.rows() == {"a": 3, "b": 1}


async def test_rows_are_shared_evenly_and_go_back_when_nobody_wants_them(folder: Path) -> None:
    batch = Batch(folder, rows=6)
    batch.ask("a", 20)
    batch.step()
    batch.ask("b", 20)
    batch.ask("c", 1, replace(LONG, max_tokens=3))
    batch.step()
    assert batch.rows() == {"a": 3, "b": 2, "c": 1}
    batch.step()
    assert "c" not in batch.rows()
    batch.step()
    assert batch.rows() == {"a": 3, "b": 3}
    before = batch.statistics.put_back
    batch.step(5)
    assert batch.statistics.put_back == before  # equal tenants do not push each other out


async def test_a_row_that_made_room_answers_as_if_it_had_not(folder: Path) -> None:
    alone = Batch(folder, rows=1)
    sampled = [replace(LONG, temperature=0.9, seed=seed, logprobs=2) for seed in range(4)]
    prompts = [[7, 8, 9 + n] for n in range(4)]
    wanted = [alone.ask("a", 1, each, prompt)[0] for each, prompt in zip(sampled, prompts, strict=True)]
    alone.finish()
    batch = Batch(folder, rows=2)
    got = [batch.ask("a", 1, each, prompt)[0] for each, prompt in zip(sampled, prompts, strict=True)]
    for _ in range(6):
        batch.step(7)
        batch.ask("b", 1, replace(LONG, max_tokens=2))
    batch.finish()
    assert batch.statistics.put_back >= 3
    for mine, theirs in zip(got, wanted, strict=True):
        assert [token.id for token in mine.tokens] == [token.id for token in theirs.tokens]
        assert mine.finish == theirs.finish


async def test_a_wide_request_gets_room_from_a_tenant_with_many_rows(folder: Path) -> None:
    batch = Batch(folder, rows=64, kv_tokens=600)
    batch.ask("a", 50, replace(LONG, max_tokens=40))
    batch.step()
    assert batch.rows() == {"a": 14}
    batch.ask("b", 1, replace(LONG, max_tokens=198))
    batch.step()
    assert batch.rows() == {"a": 2, "b": 1}


async def test_only_the_tenant_with_a_full_queue_is_refused(folder: Path) -> None:
    batch = Batch(folder, queue=3)
    asked = batch.ask("a", 3)
    with pytest.raises(OverloadedError):
        batch.ask("a")
    batch.ask("b")
    for each in asked:
        each.cancel()
    batch.step()
    assert batch.rows() == {"b": 1}
    assert batch.statistics.cancelled == 3
    batch.ask("a", 3)
