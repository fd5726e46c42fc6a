"""P2, P5: what a dead process decided and did not say is said by the reconciler, once, whichever event it was."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from contracts.blobs import BlobRef
from contracts.controls import Checkpoint
from contracts.documents.models import PUBLIC, model_id
from contracts.envelope import Event, make
from contracts.events.files import FileUploaded, FileValidated
from contracts.events.jobs import (
    Histogram,
    JobCreated,
    JobPauseRequested,
    JobQueued,
    Plan,
    StepMetrics,
    Tuning,
)
from contracts.events.models import ModelRegistered
from contracts.manifest import Manifest, ManifestRef
from contracts.ports import Lease
from contracts.results import result_ids
from functions._shared.settings import WaitSettings
from functions.control_job.handler import ControlPorts, on_job
from functions.prepare_job import handler as prepare
from functions.train_model import outcome
from functions.validate_file.handler import on_file_uploaded
from infra.adapters.kafka import KafkaEmit
from infra.adapters.mongo.controls import MongoControls
from infra.adapters.mongo.documents import Database, MongoDocuments, Readiness
from infra.runtime.functions import stages
from infra.runtime.leases import Placed, Runner, WakeUps, Work, publish_recorded
from infra.runtime.reconciler import Reconciler
from infra.runtime.world import now_ms
from infra.settings import Settings
from tests.connected.log import Tap, until

pytestmark = [pytest.mark.connected, pytest.mark.usefixtures("whole")]
BASE = "swept-base"
HASH = "0" * 64
BASE_REF = ManifestRef(key=f"public/{BASE}/manifest.json", sha256=HASH)
STEP = StepMetrics(step=1, train_loss=1.0, train_mean_token_accuracy=0.5, tokens=10)


@dataclass
class Process:
    """One process of Temper: what it publishes is delivered to the functions; it may die at its first event of a topic.

    Only the computing is left out: everything that records, publishes and takes up again is the real thing.
    """

    db: Database
    kafka: KafkaEmit
    dies_at: str | None = None
    died: asyncio.Event = field(default_factory=asyncio.Event)
    whole: Readiness | None = None

    def __post_init__(self) -> None:
        self.documents, self.wake_ups = MongoDocuments(self.db, self.whole), WakeUps()
        self.controls = MongoControls(self.db, self.whole)
        publish = partial(publish_recorded, controls=self.controls, emit=self.emit, documents=self.documents)
        self.requests = ControlPorts(self.documents, self.controls, self.emit, publish)
        self.prep = prepare.PreparationPorts(
            self.documents, self.controls, self.emit, publish, self.wake_ups, now=now_ms, settings=WaitSettings()
        )

    async def emit(self, event: Event) -> Event:
        """Publish, then deliver to whoever consumes the topic."""
        if event.type == self.dies_at and event.subject != BASE:
            self.died.set()
            await asyncio.Future()  # nothing of this process happens after this
        event = await self.kafka(event)
        if event.type == "file.uploaded":
            await on_file_uploaded(event, self.controls, self.wake_ups)
        if event.type in ("job.created", *prepare.WAITED_FOR):
            await prepare.on_prep(event, self.prep)
        return event

    async def say(self, event: Event) -> None:
        """Publish and apply, as the edge does."""
        await self.documents.apply(await self.emit(event))

    def runners(self) -> list[Runner]:
        """The long work of all stages, computed at once."""
        works: dict[str, Work] = {"validate": validate, "prepare": plan, "train": partial(train, emit=self.emit)}
        placed = [Placed(replace(stages()[name], exhausted=_never), work) for name, work in works.items()]
        return [
            Runner(each, f"process-{id(self)}", self.controls, self.emit, self.documents, self.wake_ups)
            for each in placed
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run until the block ends, and then no further, as after kill -9."""
        tasks = [asyncio.create_task(runner.run()) for runner in self.runners()]
        tasks.append(asyncio.create_task(self.wake_ups.watch(self.controls)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def reconciler(self) -> Reconciler:
        """Its reconciler, a minute from now, so that nothing is too young to be taken up."""

        later = {"jobs": [partial(prepare.retake, deps=self.prep)]}
        return Reconciler(self.documents, self.controls, self.emit, lambda: now_ms() + 60_000, later)


def _never(*_: Any) -> Sequence[Event]:
    raise AssertionError("no attempt failed")


async def validate(lease: Lease) -> list[Event]:
    """The verdict on a file."""
    file = lease.control.subject
    blob = BlobRef(key=f"local/{file}/rows.jsonl", sha256=HASH, bytes=1)
    verdict = FileValidated(format="jsonl", shape="chat", rows=12, blob=blob)
    return [make(verdict, subject=file, tenant="local", id=f"{file}-verdict")]


async def plan(lease: Lease) -> list[Event]:
    """The plan of a job."""
    job = lease.control.subject
    blob = BlobRef(key=f"local/{job}/tokens", sha256=HASH, bytes=1)
    made = Plan(
        base=BASE_REF, base_name=BASE, train=blob, probe=blob, template_sha256=HASH, context=64, rows=12, tokens=10,
        label_tokens=5, longest_row=1, histogram=Histogram(edges=(0, 1), counts=(12,)), n_epochs=1, batch_size=12,
        learning_rate_multiplier=1, learning_rate=1e-3, total_steps=1, warmup_steps=0, checkpoint_every=1, seed=1,
        tuning=Tuning(), reasons={}, memory_bytes=1, seconds=1,
    )  # fmt: skip
    return [make(JobQueued(plan=made), subject=job, tenant="local", id=f"{job}-queued")]


async def train(lease: Lease, emit: Any) -> list[Event]:
    """A run of one step."""
    control = lease.claim.control
    made = Plan.model_validate(control.inputs["plan"])
    await emit(outcome.started(control, lease.claim.fence, made, 0, "cpu"))
    manifest = Manifest(kind="adapter", base=BASE_REF, files=(), template_sha256=HASH, context=64, step=1)
    ref = ManifestRef(key=f"local/{control.subject}/manifest.json", sha256=manifest.digest())
    stored = Checkpoint(step=1, manifest=ref, epoch_end=True, fence=lease.claim.fence)
    results = {
        name: BlobRef(key=f"local/{id}/content", sha256=HASH, bytes=1)
        for name, id in result_ids(control.subject).items()
    }
    return outcome.success(control, lease.claim.fence, made, None, [(stored, manifest, STEP)], results, 10, HASH)


async def ask_for_a_model(process: Process) -> tuple[str, str]:
    """Say what the edge and the command line say; returns the ids of the file and the job."""
    file, job = f"file-{uuid.uuid4().hex}", f"ftjob-{uuid.uuid4().hex}"
    blob = BlobRef(key=f"local/{file}/content", sha256=HASH, bytes=1)
    base = ModelRegistered(
        kind="base", manifest=BASE_REF, template_sha256=HASH, context=64, owned_by=PUBLIC, parameters=1
    )
    for data, subject, tenant in (
        (base, BASE, PUBLIC),
        (FileUploaded(blob=blob, filename="a.jsonl", purpose="fine-tune"), file, "local"),
        (JobCreated(model=BASE, training_file=file), job, "local"),
    ):
        await process.say(make(data, subject=subject, tenant=tenant, id=str(uuid.uuid4())))
    return file, job


async def let_time_pass(db: Database, *names: str) -> None:
    """Let what is recorded be settled, and with the right `names` leases run out."""
    past = datetime.fromtimestamp(0, UTC)
    await db.controls.update_many({}, {"$set": dict.fromkeys(("touched_at", "not_before", *names), past)})


TOPICS = ("file.validated", "job.queued", "job.started", "file.uploaded", "model.registered", "job.succeeded")


@pytest.mark.parametrize("topic", TOPICS)
async def test_an_event_that_a_dead_process_owed_is_said_once(
    servers: Settings, db: Database, emit: KafkaEmit, topic: str
) -> None:
    tap = await Tap.open(str(servers.kafka_bootstrap), *{*TOPICS, "job.failed", "job.cancelled"})
    first = Process(db, emit)
    file, job = await ask_for_a_model(first)
    first.dies_at = topic
    async with first.running():
        await asyncio.wait_for(first.died.wait(), 20)
    documents = first.documents
    assert (await documents.get("jobs", job) or {})["status"] != "succeeded"
    said = [event.type for event in await tap.events() if event.subject in (file, job)]
    assert topic == "file.uploaded" or topic not in said

    await let_time_pass(db, "expires_at")
    second = Process(db, emit)
    reconciler = second.reconciler()
    async with second.running():

        async def succeeded() -> bool:
            await reconciler.reconcile()
            await let_time_pass(db)
            job_view = await documents.get("jobs", job) or {}
            return bool(job_view["status"] == "succeeded")

        await until(succeeded)
    events = await tap.events()
    mine = [event for event in events if event.subject in (file, job) or getattr(event.data, "job", None) == job]
    for wanted in ("file.validated", "job.queued", "model.registered", "job.succeeded"):
        assert len({event.id for event in mine if event.type == wanted}) == 1, wanted
    assert not [event for event in mine if event.type in ("job.failed", "job.cancelled")]
    view = await documents.get("jobs", job) or {}
    model = await documents.get("models", model_id("local", view["succeeded"]["fine_tuned_model"]))
    assert model is not None
    assert model["job"] == job
    for result in view["succeeded"]["result_files"]:
        assert (await documents.get("files", result)) is not None
    order = [event.type for event in sorted(mine, key=lambda each: each.at) if event.type != "job.started"]
    assert order[-1] == "job.succeeded"


async def test_a_rest_that_a_dead_process_owed_is_said(db: Database, emit: KafkaEmit) -> None:
    trainer = Process(db, emit, dies_at="job.started")
    _, job = await ask_for_a_model(trainer)
    async with trainer.running():
        await asyncio.wait_for(trainer.died.wait(), 20)
    control = await trainer.controls.desire(job, "pause", "a request")
    assert control is not None
    asked = make(JobPauseRequested(), subject=job, tenant="local", id="a request", epoch=control.epoch)
    await trainer.say(asked)
    await let_time_pass(db, "expires_at")
    worker = Process(db, emit, dies_at="job.paused")
    answering = asyncio.create_task(on_job(asked, worker.requests))
    await asyncio.wait_for(worker.died.wait(), 20)
    answering.cancel()
    assert (await worker.documents.get("jobs", job) or {})["status"] == "queued"
    await Process(db, emit).reconciler().reconcile()
    assert (await worker.documents.get("jobs", job) or {})["status"] == "paused"
