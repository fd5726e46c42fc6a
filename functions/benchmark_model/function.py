"""Benchmarks of tuned models."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

from contracts.benchmarks import Side
from contracts.envelope import Event
from contracts.events.benchmarks import BenchmarkRequested, Suite
from contracts.function import NUMERIC, Function, Reaction, Stage, Unfinished
from contracts.ports import BaseModels, Blobs, Child, Emit, Endpoints, Generate, Lease, Served
from functions.benchmark_model import handler, work
from functions.benchmark_model.judging import Judge
from functions.benchmark_model.settings import BenchmarkSettings


class Judges:
    """The endpoint that judges, asked for any of its models; connections are shared."""

    def __init__(self, settings: BenchmarkSettings, endpoints_at: Endpoints) -> None:
        url, key = settings.judge_url, settings.judge_key.get_secret_value() if settings.judge_key else ""
        self._named = settings.judge_model
        self._endpoint = endpoints_at(url, self._named, key, settings.judge_seconds) if url else None

    def judge(self, model: str | None) -> Judge | None:
        """Return the judge of that name, or the one that settings name; None without an endpoint."""
        return Judge(self._endpoint.another(model or self._named)) if self._endpoint else None


def suite(settings: BenchmarkSettings) -> Suite | None:
    """Return what follows every job; None: nothing does."""
    return Suite(items=settings.benchmark_items) if settings.benchmarks == "default" else None


def general_file(settings: BenchmarkSettings) -> str | None:
    """Return the file of general rows that is asked too."""
    return settings.general_file


async def benchmark(
    lease: Lease,
    blobs: Blobs,
    child: Child,
    emit: Emit,
    scratch: Path,
    cache: Path,
    served: Served,
    base_models: BaseModels,
    judges: Judges,
    settings: BenchmarkSettings,
) -> Sequence[Event]:
    """Do one benchmark with the models as they are served."""
    requested = BenchmarkRequested.model_validate(lease.claim.control.inputs["requested"])
    ask: Mapping[Side, Generate] = {side: served(each.name, each.ref) for side, each in requested.models.items()}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    judge = judges.judge(requested.suite.judge)
    async with AsyncExitStack() as held:  # what was fetched stays until the end
        harness = work.Harness(
            folders=lambda side: held.enter_async_context(base_models.folders(requested.models[side].ref)),
            state=cache.resolve() / "harness",
            bundle=settings.bundle.resolve() if settings.bundle else None,
        )

        def tokenizer() -> Awaitable[Path]:
            return held.enter_async_context(base_models.tokenizer(requested.base_name))

        return await work.work(lease, blobs, child, emit, scratch, ask, tokenizer, harness, now, judge)


FUNCTION = Function(
    name="benchmark_model",
    role="worker",
    of_files=True,
    reactions=(
        Reaction(("job.succeeded",), handler.on_job_succeeded),
        Reaction(("benchmark.requested",), handler.on_benchmark_requested, fails=handler.STAGE),
    ),
    stages=(
        Stage(
            name=handler.STAGE,
            model="benchmarks",
            over=lambda each: bool(each["ended"]),
            work=benchmark,
            exhausted=work.exhausted,
        ),
    ),
    unfinished=Unfinished("benchmarks", {"ended": False}, handler.STAGE),
    retakes={"benchmarks": handler.retake},
    children={work.HARNESS: "functions.benchmark_model.harness.run", work.SUITE: NUMERIC},
    settings=BenchmarkSettings,
    provides={"judges": Judges, "suite": suite, "general_file": general_file},
)
