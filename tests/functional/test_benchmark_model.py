"""A benchmark as in operation: questions fixed by a child, answers recorded in parts, score and report by a child."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from contracts import asking
from contracts.benchmarks import Item, Result
from contracts.events.benchmarks import (
    BenchmarkCompleted,
    BenchmarkFailed,
    BenchmarkProgressed,
    BenchmarkStarted,
    Grid,
    Suite,
)
from functions.benchmark_model import work as benchmark
from functions.benchmark_model.core import NOTHING
from functions.benchmark_model.judging import Judge
from infra.adapters.http.generator import HttpGenerate
from tests.children import ForkedChild
from tests.functional.benchmarking import BENCH, TOKENIZER, Model, World, plain
from tests.functional.test_judge import PATIENCE
from tests.judge import expected, judging


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_base_and_tuned_are_asked_the_same_and_the_one_that_reads_is_better(world: World) -> None:
    base, tuned = Model(reads=False), Model(reads=True)
    event = await world.run(Suite(), base, tuned)
    assert isinstance(event.data, BenchmarkCompleted)
    assert event.data.verdict == "better"
    assert base.asked == tuned.asked
    assert set(base.asked.values()) == {1}
    result = Result.model_validate(await world.json("result.json"))
    tasks = {task.name: task for task in result.tasks}
    assert set(tasks) == {"documents", "no_context", "absent", "trained"}
    documents = tasks["documents"]
    assert (documents.scores["tuned"].n, documents.scores["tuned"].unscored) == (23, 1), "P13 could not be asked"
    tuned_score, base_score = documents.scores["tuned"].estimate, documents.scores["base"].estimate
    assert tuned_score is not None
    assert base_score is not None
    assert (tuned_score.value, base_score.value) == (1.0, 0.0)
    assert documents.difference is not None
    assert (documents.difference.better, documents.difference.worse) == (23, 0)
    pages = {cell.by["page"] for cell in documents.cells if "page" in cell.by}
    assert pages == {1, 2, 3, 4, 5, 6}
    bare = tasks["no_context"].scores["tuned"].estimate
    assert bare is not None
    assert bare.value == 0.0, "without its context nothing is known: the control behaves"
    refused = tasks["absent"].scores["tuned"].estimate
    assert refused is not None
    assert refused.value == 1.0
    assert [(loss.step, loss.valid_loss) for loss in result.losses] == [(1, None), (2, 1.75)]
    items = [
        Item.model_validate_json(line) for line in (await world.blobs.get(f"local/{BENCH}/items.jsonl")).splitlines()
    ]
    assert len(items) == len({item.id for item in items}) == 24 + 24 + 4 + 20
    page = (await world.blobs.get(f"local/{BENCH}/report.html")).decode()
    assert event.data.sentence in plain(page)
    kinds = [each.type for each in world.emit.events]
    assert kinds[0] == "benchmark.started"
    assert set(kinds[1:]) == {"benchmark.progressed"}
    started, last = world.emit.events[0].data, world.emit.events[-1].data
    assert isinstance(started, BenchmarkStarted)
    assert isinstance(last, BenchmarkProgressed)
    assert (last.done, last.total) == (started.total, 144)


async def test_the_grid_has_every_cell_and_its_controls(world: World) -> None:
    grid = Grid(lengths=(96, 160), chunks=(2, 3), positions=(0.0, 0.5, 1.0), per_cell=2)
    event = await world.run(Suite(tasks=("needle",), grid=grid), Model(reads=False), Model(reads=True))
    assert isinstance(event.data, BenchmarkCompleted), event.data
    questions = [each for each in await world.questions() if each.task == "needle"]
    cells = Counter(tuple(sorted(question.by.items())) for question in questions)
    lengths, chunks = {question.by["length"] for question in questions}, {q.by["chunks"] for q in questions}
    assert (lengths, chunks) == ({96, 160}, {2, 3})
    assert {question.by["distractors"] for question in questions} == {"random", "hard"}
    assert {question.by["position"] for question in questions} == {"0", "0.5", "1"}
    assert set(cells.values()) <= {1, 2}
    for question in questions:
        passages, _ = asking.read(question.messages[-1]["content"])
        assert len(passages) == question.by["chunks"]
        holding = [place for place, text in enumerate(passages) if question.answer in text]
        assert holding == [round(float(question.by["position"]) * (len(passages) - 1))]
    absent = [each for each in await world.questions() if each.task == "needle_absent"]
    assert absent
    for each in absent:
        assert f"{' '.join(each.question.split()[4:6])} weighs".casefold() not in " ".join(each.passages).casefold()
    result = Result.model_validate(await world.json("result.json"))
    needle = next(task for task in result.tasks if task.name == "needle")
    score = needle.scores["tuned"].estimate
    assert score is not None
    assert score.value == 1.0
    assert {tuple(sorted(cell.by)) for cell in needle.cells} >= {("length",), ("chunks",), ("position",)}


async def test_tasks_of_lm_eval_stand_beside_the_documents(world: World) -> None:
    missing = await world.run(Suite(harness=("mmlu",)), Model(reads=False), Model(reads=True))
    assert isinstance(missing.data, BenchmarkFailed)
    assert missing.data.code == "invalid_bundle"
    assert "mmlu" in missing.data.message
    suite = Suite(tasks=("documents",), harness=("temper_arithmetic",), items=12)
    event = await world.run(suite, Model(reads=False), Model(reads=True))
    assert isinstance(event.data, BenchmarkCompleted), event.data
    public = next(task for task in (await world.result()).values() if task.kind == "lm_eval")
    assert public.scorer.startswith("lm-eval 0.4")
    assert (public.scores["base"].n, public.scores["base"]) == (12, public.scores["tuned"])


async def test_a_judge_decides_where_there_is_one_and_what_it_cannot_score_is_no_zero(world: World) -> None:
    with judging() as endpoint:
        generate = HttpGenerate(endpoint.url, "strict-1", seconds=5.0)
        judge = Judge(generate, PATIENCE)
        event = await world.run(Suite(tasks=("documents",)), Model(reads=False), Model(reads=True), judge)
        assert isinstance(event.data, BenchmarkCompleted), event.data
        calls = endpoint.asked.total()
        tasks = await world.result()
        documents = tasks["documents"]
        assert (documents.metric, documents.scorer) == ("judge", "judge: strict-1")
        assert tasks["absent"].metric == "refusal", "declining is told without a judge"
        questions = {each.id: each for each in await world.questions()}
        lines = [json.loads(line) for line in (await world.blobs.get(f"local/{BENCH}/judge.jsonl")).splitlines()]
        assert len(lines) == len({(line["id"], line["side"]) for line in lines})
        items = [
            Item.model_validate_json(line)
            for line in (await world.blobs.get(f"local/{BENCH}/items.jsonl")).splitlines()
        ]
        for item in items:
            question = questions[item.id]
            for side, said in item.said.items():
                if question.answer == asking.REFUSAL:
                    assert "judge" not in item.scores[side]
                    continue
                score = expected((question.question, said or NOTHING, question.answer))
                assert item.scores[side]["judge"] == (pytest.approx(score) if score is not None else None)
                assert (side in item.errors) == (score is None)
                assert (side in item.reasons) == (score is not None)
        unscored = sum(item.scores["tuned"]["judge"] is None for item in items if item.task == "documents")
        assert documents.scores["tuned"].unscored == unscored > 0
        assert documents.scores["tuned"].n == 24 - unscored
        started, last = world.emit.events[0].data, world.emit.events[-1].data
        assert isinstance(started, BenchmarkStarted)
        assert isinstance(last, BenchmarkProgressed)
        assert started.total >= last.done > started.total // 2

        # Scored anew: by rule, then by the same judge, and no model is asked again.
        nobody = Model(reads=True, away_after=0)
        plain = "bench-" + "c" * 32
        suite = Suite(tasks=("documents",), metric="rouge_l")
        event = await world.run(suite, nobody, nobody, judge, id=plain, rescores=BENCH)
        assert isinstance(event.data, BenchmarkCompleted), event.data
        again = (await world.result(plain))["documents"]
        assert (again.metric, again.scorer) == ("rouge_l", "ROUGE-L (no judge)")
        assert again.scores["tuned"].unscored == 1, "P13 could not be asked"
        second = "bench-" + "d" * 32
        await world.run(Suite(tasks=("documents",)), nobody, nobody, judge, id=second, rescores=BENCH)
        assert (await world.result(second))["documents"] == documents
        assert endpoint.asked.total() == calls, "and no judge what it was asked before"
        assert (await world.json("result.json", second))["config"]["answers_of"] == BENCH
        await generate.close()


async def test_a_judge_that_is_asked_for_must_be_there(world: World) -> None:
    event = await world.run(Suite(judge="strict-1"), Model(reads=False), Model(reads=True))
    assert isinstance(event.data, BenchmarkFailed)
    assert event.data.code == "no_judge"


async def test_generalization_and_forgetting_are_tasks_of_their_own(world: World) -> None:
    def chats(pairs: list[tuple[str, str]]) -> list[str]:
        return [
            json.dumps({"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]})
            for q, a in pairs
        ]

    for role, pairs in {
        "generalization": [(f"Told that pump P{n} weigh?", f"{n} kg it is") for n in range(30)],
        "forgetting": [(f"In general, does pump P{n} weigh?", "7 kg") for n in range(40, 60)],
    }.items():
        blob = await world.put(f"{role}.jsonl", chats(pairs))
        world.more[role] = {"file": f"file-{role}", "blob": blob.model_dump()}
    event = await world.run(Suite(tasks=("documents",), items=20), Model(reads=False), Model(reads=True))
    assert isinstance(event.data, BenchmarkCompleted), event.data
    tasks = await world.result()
    assert {name: tasks[name].scores["base"].n for name in ("generalization", "forgetting")} == {
        "generalization": 20 - sum("P13 " in q.question for q in await world.questions() if q.task == "generalization"),
        "forgetting": 20,
    }
    assert {tasks[name].metric for name in ("generalization", "forgetting")} == {"f1"}
    assert "worse at Forgetting" in event.data.sentence, "the base says 7 kg to everything, the tuned one no longer"


async def test_a_benchmark_without_a_question_says_so(world: World) -> None:
    suite = Suite(tasks=("documents",))
    lease = await world.lease(suite)
    lease.claim.control.inputs["rows"] = None

    async def tokenizer() -> Path:
        return TOKENIZER

    work = benchmark.work(lease, world.blobs, ForkedChild(), world.emit, world.tmp, {}, tokenizer, world.harness, "now")
    (event,) = await work
    assert isinstance(event.data, BenchmarkFailed)
    assert event.data.code == "nothing_to_ask"
    assert not [each for each in world.emit.events if each.type == "benchmark.started"]
