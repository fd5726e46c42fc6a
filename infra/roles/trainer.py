"""The trainer: one job at a time, under a lease."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from contracts.ports import Child, Prove
from functions.train_model import handler as training
from functions.train_model import outcome
from functions.train_model.work import RECIPE, Device
from functions.train_model.work import work as train_work
from infra.adapters.http.serving import HttpProve, Serving
from infra.adapters.kafka import Subscription
from infra.children.child import ProcessChild
from infra.runtime.leases import Runner, Stage, WakeUps
from infra.runtime.process import deliveries, run_process, scratch_folder
from infra.runtime.world import World, holder, needed, world
from infra.settings import Settings

GRACE_SECONDS = 5.0
"""For a checkpoint when the process is told to end; `temper up` kills what takes longer than 10 s."""


def stage(here: World, child: Child, scratch: Path, prove: Prove, settings: Settings) -> Stage:
    """Return the long work of a trainer."""
    device = Device(settings.device, settings.train_threads, settings.deterministic)
    return Stage(
        training.STAGE,
        lambda lease: train_work(
            lease, here.blobs, child, here.emit, here.documents, prove, scratch, settings.cache, device
        ),
        outcome.exhausted,
        {},
        grace=GRACE_SECONDS,
    )


async def run_trainer(settings: Settings) -> None:
    """Run training, one job at a time, under a lease."""
    async with world(settings, lasting=True) as here:
        wake_ups = WakeUps()
        child, scratch = ProcessChild(settings.train_threads, {RECIPE: RECIPE}), scratch_folder(settings, "trainer")
        prove = HttpProve(Serving(needed(settings.inference_url, "inference_url")))
        training_stage = stage(here, child, scratch, prove, settings)
        runner = Runner(training_stage, holder(), here.controls, here.emit, here.documents, wake_ups)
        react = partial(training.on_job_queued, wake=wake_ups)
        delivery = deliveries(here, (Subscription("train_model", ("job.queued",), react),))

        def trouble() -> str | None:
            state = delivery.status()
            return runner.trouble or (None if state["status"] in ("ok", "waiting", "starting") else str(state))

        await run_process(
            here,
            "trainer",
            delivery,
            [runner.run, partial(wake_ups.watch, here.controls)],
            trouble,
            lambda: {"kafka": delivery.status(), "job": runner.busy},
        )
