"""Benchmarks of two made-up models on a made-up data set, with stores in memory and real children."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts import asking
from contracts.benchmarks import Result, Side, TaskResult
from contracts.blobs import BlobRef
from contracts.corpus import RowOrigin, Span
from contracts.events.benchmarks import (
    BenchmarkedModel,
    BenchmarkRequested,
    Suite,
)
from contracts.manifest import ManifestRef
from contracts.ports import RefusedError, UnavailableError
from functions.benchmark_model import work as benchmark
from functions.benchmark_model.core import Question
from functions.benchmark_model.judging import Judge
from infra.adapters.memory import MemoryBlobs, MemoryControls, MemoryEmit
from infra.runtime.leases import HeldLease
from tests.children import ForkedChild
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
            lease, self.blobs, ForkedChild(), self.emit, self.tmp, ask, tokenizer,
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
