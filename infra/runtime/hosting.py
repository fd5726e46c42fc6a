"""Runs functions in a process: their ports made real, their consumer groups, their stages, their loops."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector

from contracts.function import Function, Role
from contracts.manifest import ManifestRef
from contracts.ports import Child, Served
from infra.adapters.http.generator import HttpGenerate
from infra.adapters.http.serving import MANIFEST_HEADER, HttpComplete, HttpProve, Serving
from infra.children.child import ProcessChild
from infra.runtime.base_models import CachedBaseModels
from infra.runtime.deleted_files import ErasingBlobs
from infra.runtime.dispatch import Retake, bound, placed, retakes, subscription
from infra.runtime.functions import Bound, Ports, preloads
from infra.runtime.giving_up import GiveUp
from infra.runtime.leases import Runner, WakeUps, publish_recorded
from infra.runtime.process import deliveries, run_process, scratch_folder
from infra.runtime.trackers import track, wandb
from infra.runtime.world import World, holder, needed, now_ms
from infra.settings import Settings

Loop = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Host:
    """One process and its functions."""

    here: World
    functions: Sequence[Bound]
    runners: Sequence[Runner]
    wake_ups: WakeUps
    give_up: GiveUp

    def retakes(self) -> dict[str, list[Retake]]:
        """Return by read model what takes the next steps of its unfinished documents."""
        models = {model for each in self.functions for model in each.function.retakes}
        return {model: retakes(self.functions, model) for model in models}

    async def run(
        self, role: Role, loops: Sequence[Loop] = (), trouble: Callable[[], str | None] = lambda: None
    ) -> None:
        """Deliver, work and run `loops` until told to stop; `trouble` is what is wrong with those, for health."""
        groups = [subscription(each, self.give_up) for each in self.functions if each.function.reactions]
        metrics = CollectorRegistry()
        ProcessCollector(registry=metrics)
        delivery = deliveries(self.here, groups, metrics)

        def wrong() -> str | None:
            state = delivery.status()
            stuck = None if state["status"] in ("ok", "waiting", "starting") else str(state)
            return trouble() or stuck or next((each.trouble for each in self.runners if each.trouble), None)

        def details() -> dict[str, object]:
            busy = [each.busy for each in self.runners if each.busy]
            return {"kafka": delivery.status(), "busy": busy, "functions": names}

        names = [each.function.name for each in self.functions]
        working: list[Loop] = [each.run for each in self.runners]
        working.append(partial(self.wake_ups.watch, self.here.controls))
        await run_process(self.here, role, names, delivery, [*working, *loops], wrong, details, metrics)


def host(here: World, functions: Iterable[Function], child: Child, scratch: Path) -> Host:
    """Give functions their ports; raises MissingSettingError for one that a function cannot do without."""
    wake_ups = WakeUps()
    publish = partial(publish_recorded, controls=here.controls, emit=here.emit, documents=here.documents)
    there = bound(functions, ports(here, wake_ups, publish, child, scratch))
    runners = [
        Runner(each, holder(), here.controls, here.emit, here.documents, wake_ups)
        for function in there
        for each in placed(function)
    ]
    return Host(here, there, runners, wake_ups, GiveUp(here.controls, publish))


def children(
    settings: Settings, role: Role, functions: Iterable[Function], only: Collection[str] = ()
) -> tuple[ProcessChild, Path]:
    """Return what runs the children of a role's functions, and the folder in which they work: nobody else does."""
    threads = settings.train_threads if role == "trainer" else 0
    return ProcessChild(threads, preloads(functions)), scratch_folder(settings, ".".join((role, *only))[:200])


def ports(here: World, wake: WakeUps, publish: Callable[..., Awaitable[None]], child: Child, scratch: Path) -> Ports:
    """Return what functions are given, by the names of their parameters."""
    settings = here.settings
    given: dict[str, Any] = {
        "documents": here.documents,
        "controls": here.controls,
        "secrets": here.secrets,
        "emit": here.emit,
        "blobs": here.blobs,
        "blobs_of_files": ErasingBlobs(here.blobs, here.documents),
        "publish": publish,
        "wake": wake,
        "now": now_ms,
        "child": child,
        "scratch": scratch,
        "cache": settings.cache,
        "device": settings.device,
        "threads": settings.train_threads,
        "endpoints_at": HttpGenerate,
        "base_models": CachedBaseModels(here.documents, here.blobs, settings.cache),
    }
    made: dict[str, Callable[[], Any]] = {
        "prove": lambda: HttpProve(Serving(needed(settings.inference_url, "inference_url"))),
        "served": lambda: served(needed(settings.inference_url, "inference_url")),
        "complete": lambda: HttpComplete(Serving(needed(settings.inference_url, "inference_url"))),
        "track": lambda: track(settings),
        "wandb": lambda: wandb(settings),
    }
    return Ports({**{name: partial(_itself, port) for name, port in given.items()}, **made})


def _itself(port: Any) -> Any:
    return port


def served(url: str) -> Served:
    """Return the serving process, asked for any model by its manifest; connections are shared."""
    server = HttpGenerate(f"{url}/v1", "")

    def model(name: str, manifest: ManifestRef) -> HttpGenerate:
        return server.another(name, {MANIFEST_HEADER: f"{manifest.key}#{manifest.sha256}"})

    return model
