"""A benchmark whose models are away, answer wrongly or refuse: what was answered is kept, and it ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from contracts.events.benchmarks import (
    Suite,
)
from contracts.ports import FaultyError, RefusedError, UnavailableError
from functions.benchmark_model import work as benchmark
from tests.functional.benchmarking import BENCH, Model, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_what_was_answered_before_serving_went_away_is_not_asked_again_and_ends_the_same(world: World) -> None:
    suite = Suite()
    base, tuned = Model(reads=False), Model(reads=True, away_after=40)
    with pytest.raises(UnavailableError):
        await world.run(suite, base, tuned)
    recorded = await world.blobs.list(f"local/{BENCH}/answers/")
    assert recorded
    before = {message for message, count in base.asked.items() if count}
    again_base, again_tuned = Model(reads=False), Model(reads=True)
    event = await world.run(suite, again_base, again_tuned)
    questions = await world.questions()
    kept = {line["id"] for key in recorded if "/base-" in key
            for line in map(json.loads, (await world.blobs.get(key)).splitlines())}  # fmt: skip
    assert kept
    asked_again = set(again_base.asked)
    assert not asked_again & {json.dumps(list(q.messages)) for q in questions if q.id in kept}
    assert len(before | asked_again) == len(questions)
    unbroken = World(world.tmp / "unbroken")
    alone = await unbroken.run(suite, Model(reads=False), Model(reads=True))
    assert event.data.scores == alone.data.scores
    items = [await each.blobs.get(f"local/{BENCH}/items.jsonl") for each in (world, unbroken)]
    assert items[0] == items[1]


class Faulty(Model):
    """A model that answers wrongly, from its so-manieth answer on, for so many attempts."""

    def __init__(self, after: int, error: UnavailableError) -> None:
        super().__init__(reads=True)
        self.after, self.error = after, error

    async def __call__(self, body: Mapping[str, Any]) -> str:
        if self.asked.total() >= self.after:
            raise self.error
        return await super().__call__(body)


async def test_a_model_that_answers_wrongly_for_ever_ends_its_benchmark_after_five_attempts(world: World) -> None:
    tuned = Faulty(0, FaultyError("generator", "the model's endpoint answers 500"))
    for _ in range(benchmark.ATTEMPTS - 1):
        with pytest.raises(FaultyError):
            await world.run(Suite(), Model(reads=False), tuned)
    event = await world.run(Suite(), Model(reads=False), tuned)
    assert event.type == "benchmark.failed"
    assert event.data.code == "model_faulty"
    assert event.data.message.startswith("The tuned model ft:base cannot be asked, 5 times in a row: the model's end")
    assert "answers 500" in event.data.message


async def test_attempts_count_for_each_part_and_a_serving_process_that_is_away_is_waited_for(world: World) -> None:
    faulty, away = FaultyError("generator", "it answers 500"), UnavailableError("generator", "nobody is there")
    for error in [away] * 9 + [faulty] * (benchmark.ATTEMPTS - 1):
        with pytest.raises(UnavailableError):
            await world.run(Suite(), Model(reads=True), Faulty(0, error))
    with pytest.raises(FaultyError):  # a part further; the count begins anew
        await world.run(Suite(), Model(reads=True), Faulty(32, faulty))
    assert (await world.run(Suite(), Model(reads=False), Model(reads=True))).type == "benchmark.completed"


async def test_a_4xx_is_a_verdict_at_once(world: World) -> None:
    class Refusing(Model):
        async def __call__(self, body: Mapping[str, Any]) -> str:
            self.asked["all"] += 1
            raise RefusedError(404, "the model's endpoint refuses the request with 404")

    tuned = Refusing(reads=True)
    event = await world.run(Suite(), Model(reads=False), tuned)
    assert event.type == "benchmark.completed"
    assert tuned.asked.total() == len(await world.questions())
    assert all(score.tuned is None for score in event.data.scores)
