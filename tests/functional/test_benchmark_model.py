"""A benchmark as in operation: questions fixed by a child, answers recorded in parts, score and report by a child."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from contracts import asking
from contracts.benchmarks import Item, Result, Side, TaskResult
from contracts.blobs import BlobRef
from contracts.corpus import RowOrigin, Span
from contracts.events.benchmarks import (
    BenchmarkCompleted,
    BenchmarkedModel,
    BenchmarkFailed,
    BenchmarkProgressed,
    BenchmarkRequested,
    BenchmarkStarted,
    Grid,
    Suite,
)
from contracts.manifest import ManifestRef
from contracts.ports import FaultyError, RefusedError, UnavailableError
from functions.benchmark_model import work as benchmark
from functions.benchmark_model.core import NOTHING, Question
from functions.benchmark_model.judging import Judge
from infra.adapters.http.generator import HttpGenerate
from infra.adapters.memory import MemoryBlobs, MemoryControls, MemoryEmit
from infra.children.child import ProcessChild
from infra.runtime.leases import HeldLease
from tests.functional.test_judge import PATIENCE
from tests.judge import expected, judging
from tests.leases import held

BENCH = "bench-" + "b" * 32
TOKENIZER = Path(__file__).parents[2] / "infra" / "demo" / "base" / "tokenizer.json"
MANIFEST = ManifestRef(key="local/m/manifest.json", sha256="a" * 64)
CSV = b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy,a,b\n1,2.5,0.1,,,,\n2,1.5,0.2,1.75,0.3,,\n"


def origin(number: int, chunk: int, shown: list[int], position: int | None) -> RowOrigin:
    return RowOrigin(
        line=number + 1,
        example=f"row-{number}",
        document="doc-1",
        path="pumps.pdf",
        sha256="d" * 64,
        chunk=f"chunk-{chunk}",
        quote="q" if position is not None else "",
        span=Span(page=1 + chunk // 4, start=0, end=1) if position is not None else None,
        distractors=tuple(f"chunk-{each}" for place, each in enumerate(shown) if place != position),
        position=position,
        variant=0,
        generator="extractive",
    )


def passage(chunk: int) -> str:
    return f"The pump P{chunk} weighs {100 + chunk} kg and stands in hall {chunk}."


def row(chunk: int, shown: list[int], absent: bool = False) -> dict[str, Any]:
    user = asking.asked([passage(each) for each in shown], f"How much does the pump P{chunk} weigh?")
    answer = asking.REFUSAL if absent else f"{100 + chunk} kg"
    texts = (("system", "Answer briefly from the context."), ("user", user), ("assistant", answer))
    return {"messages": [{"role": role, "content": content} for role, content in texts], "line": 1}


class Model:
    """A model that reads, knows nothing, or is away after so many answers."""

    def __init__(self, reads: bool, away_after: int | None = None) -> None:
        self.model, self.reads, self.away_after = "m", reads, away_after
        self.asked: Counter[str] = Counter()

    async def __call__(self, body: Mapping[str, Any]) -> str:
        if self.away_after is not None and self.asked.total() >= self.away_after:
            raise UnavailableError("serving")
        content = body["messages"][-1]["content"]
        self.asked[json.dumps(body["messages"])] += 1
        assert body["temperature"] == 0
        if "P13 weigh?" in content:
            raise RefusedError(400, "the context is too long")
        pump = re.findall(r"pump (P\d+) weigh\?", content)[0]
        found = re.search(rf"pump {pump} weighs (\d+ kg)", content)
        if not self.reads:
            return "7 kg"
        return found[1] if found else asking.REFUSAL


class World:
    """A data set with held-out rows, and the lease on its benchmark."""

    def __init__(self, tmp_path: Path) -> None:
        self.blobs, self.emit, self.tmp = MemoryBlobs(), MemoryEmit(), tmp_path
        self.controls = MemoryControls()
        self.more: dict[str, Any] = {}
        """Role → a file of rows besides the data set."""
        self.harness = benchmark.Harness(folders=self.folders, state=tmp_path / "harness")

    async def folders(self, side: Side) -> Mapping[str, str | None]:
        """Both sides are the demo base, so that they must not differ."""
        return {"model": str(TOKENIZER.parent), "adapter": None}

    async def put(self, name: str, lines: list[str]) -> BlobRef:
        return await self.blobs.put(f"local/file-1/{name}", "".join(f"{line}\n" for line in lines).encode())

    async def data_set(self) -> dict[str, Any]:
        held = [(chunk, [chunk, (chunk + 1) % 24, (chunk + 2) % 24]) for chunk in range(24)]
        absent = [(chunk, [(chunk + 1) % 24, (chunk + 2) % 24]) for chunk in range(4)]
        rows = [json.dumps(row(chunk, shown)) for chunk, shown in held]
        origins = [origin(n, chunk, shown, 0).model_dump_json() for n, (chunk, shown) in enumerate(held)]
        rows += [json.dumps(row(chunk, shown, absent=True)) for chunk, shown in absent]
        origins += [origin(50 + n, chunk, shown, None).model_dump_json() for n, (chunk, shown) in enumerate(absent)]
        train = [(chunk, [chunk, chunk + 1]) for chunk in range(40, 60)]
        return {
            "file": "file-1",
            "blob": (await self.put("rows.jsonl", [json.dumps(row(*each)) for each in train])).model_dump(),
            "lineage": (
                await self.put(
                    "lineage.jsonl",
                    [origin(n, chunk, shown, 0).model_dump_json() for n, (chunk, shown) in enumerate(train)],
                )
            ).model_dump(),
            "held_out": (await self.put("held_out.jsonl", rows)).model_dump(),
            "rows": 20,
            "held_out_rows": len(rows),
            "coverage": 1.0,
            "generator": "extractive",
        } | {"_": await self.put("held_out.lineage.jsonl", origins)}

    async def lease(self, suite: Suite, id: str = BENCH, rescores: str | None = None) -> HeldLease:
        rows = await self.data_set()
        rows.pop("_")
        requested = BenchmarkRequested(
            models={
                "base": BenchmarkedModel(name="base", manifest=MANIFEST),
                "tuned": BenchmarkedModel(name="ft:base", manifest=MANIFEST),
            },
            base_name="base",
            file="file-1",
            rescores=rescores,
            suite=suite,
        )
        metrics = await self.blobs.put("local/file-2/content", CSV)
        inputs = {
            "event_id": "e1",
            "requested": requested.model_dump(mode="json"),
            "base": MANIFEST.model_dump(),
            "context": 512,
            "rows": rows,
            "validation": None,
            **self.more,
            "metrics": metrics.model_dump(),
        }
        return held(id, "local", "benchmark", inputs, self.controls)

    async def run(self, suite: Suite, base: Model, tuned: Model, judge: Judge | None = None, **of: str) -> Any:
        async def tokenizer() -> Path:
            return TOKENIZER

        ask: dict[Side, Any] = {"base": base, "tuned": tuned}
        lease = await self.lease(suite, **of)
        work = benchmark.work(
            lease, self.blobs, ProcessChild(), self.emit, self.tmp, ask, tokenizer,
            self.harness, f"2026-01-01T00:00:0{lease.claim.fence}+00:00", judge,
        )  # fmt: skip
        (event,) = await work
        return event

    async def json(self, name: str, id: str = BENCH) -> Any:
        return json.loads(await self.blobs.get(f"local/{id}/{name}"))

    async def result(self, id: str = BENCH) -> dict[str, TaskResult]:
        """Task → what was found."""
        result = Result.model_validate(await self.json("result.json", id))
        return {task.name: task for task in result.tasks}

    async def questions(self) -> list[Question]:
        lines = (await self.blobs.get(f"local/{BENCH}/suite.jsonl")).splitlines()
        return [Question.model_validate_json(line) for line in lines]


def plain(page: str) -> str:
    """Return what a reader of a page sees."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", page)).split())


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

    work = benchmark.work(
        lease, world.blobs, ProcessChild(), world.emit, world.tmp, {}, tokenizer, world.harness, "now"
    )
    (event,) = await work
    assert isinstance(event.data, BenchmarkFailed)
    assert event.data.code == "nothing_to_ask"
    assert not [each for each in world.emit.events if each.type == "benchmark.started"]
