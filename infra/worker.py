"""The worker: all small functions in one process."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from pathlib import Path

from contracts.ports import Child, UnavailableError
from functions.assemble_dataset.work import BUILD
from functions.benchmark_model.work import HARNESS, SUITE
from functions.chunk_text.work import CUT
from functions.control_job import handler as control
from functions.erase_content import core as erase
from functions.erase_content.handler import Deps as Erasure
from functions.erase_content.handler import on_event as on_erasure
from functions.extract_text.work import READ
from functions.extract_zip import handler as unpacking
from functions.extract_zip.work import UNPACK
from functions.plan_corpus.work import PLAN
from functions.prepare_job import handler as prepare
from functions.prepare_job import work as plan
from functions.train_model import handler as training
from functions.validate_file import handler as validation
from functions.validate_file import work as validate
from infra import benchmarks, corpus, tracking
from infra.adapters.child import ProcessChild
from infra.adapters.erasure import ErasingBlobs
from infra.adapters.kafka import Subscription
from infra.adapters.mongo import Builds, MongoDocuments
from infra.cancelling import pause
from infra.process import deliveries, run_process, scratch_folder
from infra.projector import Projector
from infra.settings import Settings
from infra.stages import GiveUp, itself
from infra.sweep import Reconsider, Sweeper
from infra.work import Bells, Runner, Stage, publish_recorded, shared
from infra.world import World, holder, needed, now_ms, world

log = logging.getLogger("temper.worker")

SWEEP_SECONDS = 2.0
LIGHT, NUMERIC = "infra.preload.light", "infra.preload.numeric"
FORKED = {
    READ: "functions.extract_text.preload",
    plan.TOKENISE: "functions.prepare_job.preload",
    HARNESS: "functions.benchmark_model.harness.run",
    **dict.fromkeys((validate.CHECK, UNPACK, CUT), LIGHT),
    **dict.fromkeys((PLAN, BUILD, SUITE), NUMERIC),
}
"""Children, and the module that imports their libraries before they are forked."""
VALIDATORS = 2
"""Files of one tenant that are validated at the same time by one worker."""


async def run_worker(settings: Settings) -> None:
    """Run the small functions: validation, preparation, control, projections, the sweeper."""
    async with world(settings, lasting=True) as here:
        me, bells, child, scratch = holder(), Bells(), ProcessChild(forked=FORKED), scratch_folder(settings, "worker")
        publish = partial(publish_recorded, controls=here.controls, emit=here.emit, documents=here.documents)
        give_up = GiveUp(here.controls, publish)
        deps = prepare.Deps(
            documents=here.documents,
            controls=here.controls,
            emit=here.emit,
            publish=publish,
            bell=bells,
            now=now_ms,
            wait_ms=int(settings.file_wait_seconds * 1000),
        )
        runners = [
            Runner(stage, me, here.controls, here.emit, here.documents, bells)
            for stage in stages(here, child, scratch, settings)
        ]
        again: Mapping[str, Reconsider] = {
            "archives": partial(corpus.reconsider, here=here, bell=bells),
            "jobs": lambda job: prepare.reconsider(job["id"], deps),
            "benchmarks": partial(benchmarks.reconsider, here=here, bell=bells, give_up=give_up, settings=settings),
        }
        sweeper = Sweeper(here.documents, here.controls, here.emit, now_ms, again)

        def restore(documents: MongoDocuments) -> Awaitable[int]:
            return Sweeper(documents, here.controls, here.emit, now_ms).restore()

        projector = Projector(
            needed(settings.kafka_bootstrap, "kafka_bootstrap"),
            Builds(here.db),
            restore,
            here.belief,
            here.emit,
        )
        subscribed = (
            *subscriptions(here, bells, deps, give_up),
            *corpus.subscriptions(here, bells, give_up),
            *benchmarks.subscriptions(here, bells, give_up, settings),
            *tracking.subscriptions(here, child, scratch, settings),
        )
        delivery = deliveries(here, subscribed)

        def trouble() -> str | None:
            state = delivery.status()
            stuck = None if state["status"] in ("ok", "waiting", "starting") else str(state)
            return projector.trouble or stuck or next((each.trouble for each in runners if each.trouble), None)

        await run_process(
            here,
            "worker",
            delivery,
            [
                *(runner.run for runner in runners),
                partial(bells.watch, here.controls),
                projector.run,
                partial(_sweep, sweeper),
            ],
            trouble,
            lambda: {"kafka": delivery.status(), "projector": projector.trouble or "ok"},
        )


def subscriptions(here: World, bells: Bells, deps: prepare.Deps, give_up: GiveUp) -> tuple[Subscription, ...]:
    """Return who reacts to files, jobs and requests."""
    requests = control.Deps(here.documents, here.controls, here.emit, give_up.publish)
    return (
        Subscription(
            "validate_file",
            ("file.uploaded",),
            partial(validation.on_file_uploaded, controls=here.controls, bell=bells),
            give_up.on_failure(validation.STAGE, {"file.uploaded": itself}),
        ),
        Subscription(
            "prepare_job",
            prepare.TOPICS,
            partial(prepare.on_prep, deps=deps),
            give_up.on_failure(prepare.STAGE, {"job.created": itself}),
        ),
        Subscription("control_job", control.TOPICS, partial(control.on_job, deps=requests)),
        Subscription(
            "erase_content",
            erase.TOPICS,
            partial(on_erasure, deps=Erasure(here.documents, here.blobs, here.controls, give_up.publish)),
        ),
    )


def stages(here: World, child: Child, scratch: Path, settings: Settings) -> Sequence[Stage]:
    """Return the long work of a worker, a stage as often as it may run at the same time."""
    files = ErasingBlobs(here.blobs, here.documents)
    validating = Stage(
        validation.STAGE,
        lambda lease: validate.work(lease, files, child, scratch),
        validate.exhausted,
        {"zip.uploaded": unpacking.STAGE},
    )
    preparing = Stage(
        prepare.STAGE,
        lambda lease: plan.work(
            lease, here.blobs, child, scratch, settings.cache, settings.device, settings.train_threads
        ),
        plan.exhausted,
        {"job.queued": training.STAGE},
    )
    return (
        *shared(validating, VALIDATORS),
        *shared(preparing),
        *corpus.stages(here, child, scratch, settings),
        *shared(benchmarks.stage(here, child, scratch, settings)),
    )


async def _sweep(sweeper: Sweeper) -> None:
    while True:
        await pause(SWEEP_SECONDS)
        try:
            await sweeper.sweep()
        except UnavailableError as error:
            log.info("the sweeper waits: %s", error)
        except Exception:
            log.exception("a sweep failed; the next one starts afresh")
