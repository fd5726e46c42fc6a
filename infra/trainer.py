"""The trainer: one job at a time, under a lease."""

from __future__ import annotations

from functools import partial

from functions.train_model import outcome
from functions.train_model.handler import on_job_queued
from functions.train_model.work import RECIPE, Device
from functions.train_model.work import work as train_work
from infra.adapters.child import ProcessChild
from infra.adapters.http import HttpProve, Serving
from infra.adapters.kafka import Subscription
from infra.process import deliveries, run_process, scratch_folder
from infra.settings import Settings
from infra.work import Bells, Runner, Stage
from infra.world import holder, needed, world

GRACE_SECONDS = 5.0
"""For a checkpoint when the process is told to end; `temper up` kills what takes longer than 10 s."""


async def run_trainer(settings: Settings) -> None:
    """Run training, one job at a time, under a lease."""
    async with world(settings, lasting=True) as here:
        bells = Bells()
        device = Device(settings.device, settings.train_threads, settings.deterministic)
        child, scratch = ProcessChild(settings.train_threads, {RECIPE: RECIPE}), scratch_folder(settings, "trainer")
        serving = Serving(needed(settings.inference_url, "inference_url"))
        prove = HttpProve(serving)
        stage = Stage(
            "train",
            lambda lease: train_work(
                lease, here.blobs, child, here.emit, here.documents, prove, scratch, settings.cache, device
            ),
            lambda claim, why: [outcome.exhausted(claim.control, claim.fence, why)],
            {},
            grace=GRACE_SECONDS,
        )
        runner = Runner(stage, holder(), here.controls, here.emit, here.documents, bells)
        delivery = deliveries(here, (Subscription("train_model", ("job.queued",), partial(on_job_queued, bell=bells)),))

        def trouble() -> str | None:
            state = delivery.status()
            return runner.trouble or (None if state["status"] in ("ok", "waiting", "starting") else str(state))

        await run_process(
            here,
            "trainer",
            delivery,
            [runner.run, partial(bells.watch, here.controls)],
            trouble,
            lambda: {"kafka": delivery.status(), "job": runner.busy},
        )
