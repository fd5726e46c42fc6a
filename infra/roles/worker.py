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
from infra.adapters.kafka import Subscription
from infra.adapters.mongo.documents import Builds, MongoDocuments
from infra.children.child import ProcessChild
from infra.runtime import benchmarks, corpus, tracking
from infra.runtime.cancellation import pause
from infra.runtime.deleted_files import ErasingBlobs
from infra.runtime.leases import Runner, Stage, WakeUps, publish_recorded, shared
from infra.runtime.process import deliveries, run_process, scratch_folder
from infra.runtime.projector import Projector
from infra.runtime.reconciler import Reconciler, Reconsider
from infra.runtime.stages import GiveUp, itself
from infra.runtime.world import World, holder, needed, now_ms, world
from infra.settings import Settings

log = logging.getLogger("temper.worker")

RECONCILE_SECONDS = 2.0
LIGHT, NUMERIC = "infra.children.preload.light", "infra.children.preload.numeric"
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
    """Run the small functions: validation, preparation, control, projections, the reconciler."""
    async with world(settings, lasting=True) as here:
        me, wake_ups, child, scratch = (
            holder(),
            WakeUps(),
            ProcessChild(forked=FORKED),
            scratch_folder(settings, "worker"),
        )
        publish = partial(publish_recorded, controls=here.controls, emit=here.emit, documents=here.documents)
        give_up = GiveUp(here.controls, publish)
        deps = prepare.Deps(
            documents=here.documents,
            controls=here.controls,
            emit=here.emit,
            publish=publish,
            wake=wake_ups,
            now=now_ms,
            wait_ms=int(settings.file_wait_seconds * 1000),
        )
        runners = [
            Runner(stage, me, here.controls, here.emit, here.documents, wake_ups)
            for stage in stages(here, child, scratch, settings)
        ]
        again: Mapping[str, Reconsider] = {
            "archives": partial(corpus.reconsider, here=here, wake=wake_ups),
            "jobs": lambda job: prepare.reconsider(job["id"], deps),
            "benchmarks": partial(benchmarks.reconsider, here=here, wake=wake_ups, give_up=give_up, settings=settings),
        }
        reconciler = Reconciler(here.documents, here.controls, here.emit, now_ms, again)

        def restore(documents: MongoDocuments) -> Awaitable[int]:
            return Reconciler(documents, here.controls, here.emit, now_ms).restore()

        projector = Projector(
            needed(settings.kafka_bootstrap, "kafka_bootstrap"),
            Builds(here.db),
            restore,
            here.belief,
            here.emit,
        )
        subscribed = (
            *subscriptions(here, wake_ups, deps, give_up),
            *corpus.subscriptions(here, wake_ups, give_up),
            *benchmarks.subscriptions(here, wake_ups, give_up, settings),
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
                partial(wake_ups.watch, here.controls),
                projector.run,
                partial(_reconcile, reconciler),
            ],
            trouble,
            lambda: {"kafka": delivery.status(), "projector": projector.trouble or "ok"},
        )


def subscriptions(here: World, wake_ups: WakeUps, deps: prepare.Deps, give_up: GiveUp) -> tuple[Subscription, ...]:
    """Return who reacts to files, jobs and requests."""
    requests = control.Deps(here.documents, here.controls, here.emit, give_up.publish)
    return (
        Subscription(
            "validate_file",
            ("file.uploaded",),
            partial(validation.on_file_uploaded, controls=here.controls, wake=wake_ups),
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


async def _reconcile(reconciler: Reconciler) -> None:
    while True:
        await pause(RECONCILE_SECONDS)
        try:
            await reconciler.reconcile()
        except UnavailableError as error:
            log.info("the reconciler waits: %s", error)
        except Exception:
            log.exception("a round failed; the next one starts afresh")
