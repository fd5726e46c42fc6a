"""GEval by a judge over HTTP: failures do not become scores, nothing is asked twice, sixteen are asked at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from contracts.ports import UnavailableError
from contracts.replies import Patience, Replies
from functions.benchmark_model.core import NOTHING
from functions.benchmark_model.judging import IN_FLIGHT, judged
from infra.adapters.http.generator import HttpGenerate
from infra.adapters.memory import MemoryBlobs
from infra.children.child import ProcessChild
from tests.endpoint import serving
from tests.judge import FAULTS, Judge, expected, judging

PATIENCE = Patience(attempts=4, first_wait=0.05, longest_wait=0.2, outages=1, in_flight=IN_FLIGHT)


def cases(count: int) -> list[tuple[str, str, str]]:
    """(question, said, answer); every third answer is right, and one is empty."""
    right = [(f"How heavy is pump {n}?", f"It weighs {n} kg.", f"{n} kg") for n in range(0, count, 3)]
    wrong = [(f"How heavy is pump {n}?", "I do not know." if n > 1 else "", f"{n} kg") for n in range(count) if n % 3]
    return right + wrong


def written(tmp_path: Path, found: list[tuple[str, str, str]]) -> Path:
    items = tmp_path / "items.jsonl"
    lines = (
        {"id": f"item-{n}", "side": "tuned", "question": question, "answer": answer, "said": said}
        for n, (question, said, answer) in enumerate(found)
    )
    items.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return items


async def run(
    judge: Judge, items: Path, blobs: MemoryBlobs, in_flight: int = IN_FLIGHT, seconds: float = 5.0
) -> dict[str, Mapping[str, Any]]:
    generate = HttpGenerate(judge.url, "strict-1", "sk-judge", seconds=seconds)
    verdicts: dict[str, Mapping[str, Any]] = {}

    async def scored(line: Mapping[str, Any]) -> None:
        verdicts[line["id"]] = line

    try:
        replies = Replies(blobs, "local/bench-1/judge", generate, PATIENCE, asyncio.sleep)
        await judged(ProcessChild(), items, replies, "strict-1", in_flight, scored)
    finally:
        await generate.close()
    return verdicts


async def test_what_a_judge_says_is_clamped_and_what_it_does_not_say_is_no_score(tmp_path: Path) -> None:
    found, blobs = cases(120), MemoryBlobs()
    items = written(tmp_path, found)
    with judging() as judge:
        verdicts = await run(judge, items, blobs)
        assert set(judge.faults) == set(FAULTS), "every way to fail was met"
        assert set(judge.asked.values()) == {1}, "what was answered is not asked again"
        first = judge.asked.total()
        assert await run(judge, items, blobs) == verdicts
        assert judge.asked.total() == first, "and not by a second attempt either"
    assert len(verdicts) == len(found)
    for n, case in enumerate(found):
        verdict, score = verdicts[f"item-{n}"], expected((case[0], case[1] or NOTHING, case[2]))
        assert verdict["score"] == (pytest.approx(score) if score is not None else None), (case, verdict)
        if score is None:
            assert "no score could be read" in verdict["error"]
        else:
            assert case[2] in verdict["reason"]
    assert {verdict["raw"] for verdict in verdicts.values() if verdict["score"] is not None} >= {1.1, -0.3}
    assert len({verdict["score"] for verdict in verdicts.values()}) == 5


async def test_sixteen_are_in_flight_and_little_time_is_lost(tmp_path: Path) -> None:
    """BENCHMARKS 8b, with a judge that takes half a second; `temper bench judge` measures it in rounds."""
    with judging(seconds=0.5, faulty=False) as judge:
        await run(judge, written(tmp_path, cases(96)), MemoryBlobs())
        assert judge.most == IN_FLIGHT


async def test_a_judge_that_is_away_is_waited_for_and_scores_nothing(tmp_path: Path) -> None:
    judge = Judge()
    with judging() as gone:
        judge.url = gone.url
    began = monotonic()
    with pytest.raises(UnavailableError):
        await run(judge, written(tmp_path, cases(6)), MemoryBlobs())
    assert monotonic() - began < 60


async def test_a_judge_that_refuses_leaves_answers_unscored(tmp_path: Path) -> None:
    class Refusing(Judge):
        def answer(self, path: str, body: bytes) -> tuple[int, str]:
            return 401, ""

    judge = Refusing()
    with serving(judge.answer, judge.ended) as port:
        judge.url = f"http://127.0.0.1:{port}/v1"
        verdicts = await run(judge, written(tmp_path, cases(6)), MemoryBlobs())
    assert {(verdict["score"], verdict["error"]) for verdict in verdicts.values()} == {
        (None, "the judge refuses with 401")
    }
