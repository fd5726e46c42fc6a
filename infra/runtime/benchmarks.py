"""The function that benchmarks models, put together: subscriptions and its stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from contracts.benchmarks import Side
from contracts.documents import View
from contracts.envelope import Event
from contracts.events.benchmarks import BenchmarkedModel, BenchmarkRequested, Suite
from contracts.manifest import Manifest, ManifestRef
from contracts.ports import Child, Generate, Lease, WakeUp
from functions.benchmark_model import handler
from functions.benchmark_model import work as benchmark
from functions.benchmark_model.judging import Judge
from functions.prepare_job.work import fetch_base
from infra.adapters.http.generator import HttpGenerate
from infra.adapters.http.serving import MANIFEST_HEADER
from infra.adapters.kafka import Subscription
from infra.runtime.corpus import tokenizer_file
from infra.runtime.deleted_files import ErasingBlobs
from infra.runtime.leases import Stage
from infra.runtime.stages import GiveUp, itself, said_again
from infra.runtime.world import World, needed
from infra.settings import Settings


def subscriptions(here: World, wake: WakeUp, give_up: GiveUp, settings: Settings) -> tuple[Subscription, ...]:
    """Return who reacts to what."""
    deps = _deps(here, wake, give_up, settings)

    async def react(event: Event) -> None:
        if event.type == "job.succeeded":
            await handler.on_job_succeeded(event, deps)
        else:
            await handler.on_benchmark_requested(event, deps)

    tell = give_up.on_failure(handler.STAGE, {"benchmark.requested": itself})
    return (Subscription("benchmark_model", ("job.succeeded", "benchmark.requested"), react, tell),)


def _deps(here: World, wake: WakeUp, give_up: GiveUp, settings: Settings) -> handler.Deps:
    suite = Suite(items=settings.benchmark_items) if settings.benchmarks == "default" else None
    return handler.Deps(here.documents, here.controls, here.emit, give_up.publish, wake, suite, settings.general_file)


async def reconsider(benchmark: View, here: World, wake: WakeUp, give_up: GiveUp, settings: Settings) -> None:
    """Open the stage of a benchmark again, or say why there is nothing to benchmark."""
    asked = said_again(benchmark, "benchmark.requested", benchmark["requested"])
    await handler.on_benchmark_requested(asked, _deps(here, wake, give_up, settings))


def stage(here: World, child: Child, scratch: Path, settings: Settings) -> Stage:
    """Return the long work."""
    blobs = ErasingBlobs(here.blobs, here.documents)
    served, judges = Served(needed(settings.inference_url, "inference_url")), Judges(settings)

    async def work(lease: Lease) -> Sequence[Event]:
        requested = BenchmarkRequested.model_validate(lease.claim.control.inputs["requested"])
        ask: Mapping[Side, Generate] = {
            side: served.model(each.name, each.ref) for side, each in requested.models.items()
        }
        tokenizer = partial(tokenizer_file, here, requested.base_name, settings.cache)
        own = scratch / lease.claim.subject  # another benchmark may fetch the same model
        harness = benchmark.Harness(
            folders=lambda side: model_folders(here, requested.models[side], settings.cache, own),
            state=settings.cache.resolve() / "harness",
            bundle=settings.bundle.resolve() if settings.bundle else None,
        )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        judge = judges.judge(requested.suite.judge)
        return await benchmark.work(lease, blobs, child, here.emit, scratch, ask, tokenizer, harness, now, judge)

    return Stage(handler.STAGE, work, benchmark.exhausted, {})


async def model_folders(here: World, model: BenchmarkedModel, cache: Path, scratch: Path) -> Mapping[str, str | None]:
    """Return where a model lies on this machine: its base or its whole weights, and its adapter if it has one."""
    manifest = Manifest.model_validate_json(await here.blobs.get(model.ref.key))
    folder = await fetch_base(here.blobs, model.ref, model.name, cache.resolve(), scratch)
    if manifest.kind != "adapter" or manifest.base is None:
        return {"model": str(folder), "adapter": None}
    base = await fetch_base(here.blobs, manifest.base, f"of {model.name}", cache.resolve(), scratch)
    return {"model": str(base), "adapter": str(folder)}


class Served:
    """The serving process, asked for any model by its manifest; connections are shared."""

    def __init__(self, url: str) -> None:
        self._server = HttpGenerate(f"{url}/v1", "")

    def model(self, name: str, manifest: ManifestRef) -> HttpGenerate:
        """Return a model as it is served."""
        return self._server.another(name, {MANIFEST_HEADER: f"{manifest.key}#{manifest.sha256}"})


class Judges:
    """The endpoint that judges, asked for any of its models; connections are shared."""

    def __init__(self, settings: Settings) -> None:
        url, key = settings.judge_url, settings.judge_key.get_secret_value() if settings.judge_key else ""
        self._named = settings.judge_model
        self._endpoint = HttpGenerate(url, self._named, key, settings.judge_seconds) if url else None

    def judge(self, model: str | None) -> Judge | None:
        """Return the judge of that name, or the one that settings name; None without an endpoint."""
        return Judge(self._endpoint.another(model or self._named)) if self._endpoint else None
