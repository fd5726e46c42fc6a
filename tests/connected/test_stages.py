"""P5: what nobody is at is taken up in every stage, on real stores, and what cannot be done ends with a code."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from contracts.blobs import BlobRef
from contracts.corpus import document_id
from contracts.documents import View
from contracts.documents.models import PUBLIC
from contracts.envelope import Event, derived_id, make
from contracts.events import Payload
from contracts.events.benchmarks import BenchmarkCompleted, BenchmarkedModel, BenchmarkRequested
from contracts.events.corpus import (
    CorpusPlanned,
    DatasetAssembled,
    DocumentChunked,
    DocumentExtracted,
    DocumentUploaded,
    ExamplesSynthesized,
    ZipExtracted,
    ZipUploaded,
)
from contracts.events.files import FileRejected, FileUploaded, FileValidated
from contracts.events.jobs import JobCreated, JobFailed, JobQueued
from contracts.events.models import ModelRegistered
from infra.adapters.kafka import KafkaEmit, Subscription, ensure_topics
from infra.adapters.mongo.controls import MongoControls
from infra.adapters.mongo.documents import MongoDocuments
from infra.runtime.dispatch import subscription
from infra.runtime.functions import of_role, stages
from infra.runtime.hosting import host
from infra.runtime.reconciler import MAX_TRIES, Reconciler
from infra.runtime.world import now_ms
from infra.settings import Settings
from tests.connected.log import KEY
from tests.connected.stores import minio_blobs
from tests.connected.test_reconciler import BASE, BASE_REF, let_time_pass
from tests.functional.edge import plan

pytestmark = [pytest.mark.connected, pytest.mark.usefixtures("whole")]
HASH = "0" * 64
STAGES = stages()
NOTHING: Any = None
BLOB = BlobRef(key="local/any", sha256=HASH, bytes=1)
FILE, ZIP, DOCUMENT, JOB, BENCHMARK = "file-rows", "file-zip", "file-document", "ftjob-1", "bench-1"
PART = document_id(DOCUMENT, HASH)
BASE_MODEL = ModelRegistered(kind="base", manifest=BASE_REF, template_sha256=HASH, context=64, owned_by=PUBLIC)


@dataclass
class Worker:
    """What a worker reacts and sweeps with; it computes nothing."""

    documents: MongoDocuments
    controls: MongoControls
    reconciler: Reconciler
    subscriptions: dict[str, Subscription]
    plan: BlobRef

    async def say(self, data: Payload, subject: str, tenant: str = "local") -> Event:
        """Fold an event that Kafka has."""
        id = derived_id(subject, type(data).__name__)
        event = replace(make(data, subject=subject, tenant=tenant, id=id), at=now_ms())
        await self.documents.apply(event)
        return event

    async def go(self, *names: str) -> Event:
        """Say what leads to a stage, in order; returns the last."""
        said: dict[str, tuple[Payload, str]] = {
            "file": (FileUploaded(blob=BLOB, filename="a", purpose="fine-tune"), FILE),
            "valid": (FileValidated(format="jsonl", shape="chat", rows=12, blob=BLOB), FILE),
            "zip": (ZipUploaded(blob=BLOB, filename="a", purpose="fine-tune"), ZIP),
            "unpacked": (ZipExtracted(manifest=BLOB, taken=1, skipped=0), ZIP),
            "document": (DocumentUploaded(blob=BLOB, filename="a", purpose="fine-tune", format="plain"), DOCUMENT),
            "read": (DocumentExtracted(archive=DOCUMENT, path="a", text=BLOB, pages=1, characters=1), PART),
            "cut": (DocumentChunked(archive=DOCUMENT, chunks=BLOB, n_chunks=1, tokens=1), PART),
            "planned": (
                CorpusPlanned(plan=self.plan, documents=1, chunks=1, held_out=0, duplicates=0, rows=1),
                DOCUMENT,
            ),
            "made": (
                ExamplesSynthesized(
                    archive=DOCUMENT, examples=BLOB, generator="extractive", kept=1, rejected=0, covered=1
                ),
                PART,
            ),
            "assembled": (
                DatasetAssembled(
                    blob=BLOB, rows=1, version=HASH, lineage=BLOB, report=BLOB, coverage=1, generator="extractive"
                ),
                DOCUMENT,
            ),
            "job": (JobCreated(model=BASE, training_file=FILE), JOB),
            "queued": (JobQueued(plan=plan()), JOB),
            "failed": (JobFailed(code="c", message="m"), JOB),
            "benchmark": (
                BenchmarkRequested(models={"base": BenchmarkedModel(name=BASE, manifest=BASE_REF)}, base_name=BASE),
                BENCHMARK,
            ),
            "benchmarked": (
                BenchmarkCompleted(result=BLOB, items=BLOB, report=BLOB, verdict="better", sentence="s", scores=()),
                BENCHMARK,
            ),
        }
        event = await self.say(BASE_MODEL, BASE, PUBLIC)
        for name in names:
            event = await self.say(*said[name])
        return event


LEADS: dict[str, tuple[str, list[str]]] = {
    "validate": (FILE, ["file"]),
    "extract_zip": (ZIP, ["zip"]),
    "extract_text": (PART, ["document"]),
    "chunk_text": (PART, ["document", "read"]),
    "plan_corpus": (DOCUMENT, ["document", "read", "cut"]),
    "synthesize_examples": (PART, ["document", "read", "cut", "planned"]),
    "assemble_dataset": (DOCUMENT, ["document", "read", "cut", "planned", "made"]),
    "prepare": (JOB, ["file", "valid", "job"]),
    "train": (JOB, ["file", "valid", "job", "queued"]),
    "benchmark": (BENCHMARK, ["benchmark"]),
}
"""Stage → what is worked on there, and what was said before."""
ENDED = ["file", "valid", "zip", "unpacked", *LEADS["assemble_dataset"][1], "assembled", "job", "queued", "failed"]


@pytest_asyncio.fixture
async def here(servers: Settings, db: Any) -> AsyncIterator[Worker]:
    await ensure_topics(str(servers.kafka_bootstrap))
    emit = KafkaEmit(str(servers.kafka_bootstrap), KEY)
    documents, controls = MongoDocuments(db), MongoControls(db)
    async with minio_blobs(servers) as blobs:
        chunks = {"chunks": [{"document": PART, "rows": 1}]}
        stored = await blobs.put(f"local/{uuid.uuid4().hex}", json.dumps(chunks).encode())
        ports = {"documents": documents, "controls": controls, "blobs": blobs, "emit": emit, "secrets": None}
        settings = servers.model_copy(update={"inference_url": "http://127.0.0.1:1"})
        world: Any = SimpleNamespace(**ports, settings=settings)
        there = host(world, of_role("worker"), NOTHING, Path())
        clock = iter(range(now_ms() + 60_000, now_ms() + 10**9, 60_000))
        yield Worker(
            documents,
            controls,
            Reconciler(documents, controls, emit, lambda: next(clock), there.retakes()),
            {each.function.name: subscription(each, there.give_up) for each in there.functions},
            stored,
        )
        await emit.stop()


def test_every_stage_has_a_case() -> None:
    assert set(LEADS) == set(STAGES)


@pytest.mark.parametrize("stage", LEADS)
async def test_a_thing_whose_control_document_was_lost_is_taken_up_in_every_stage(here: Worker, stage: str) -> None:
    subject, said = LEADS[stage]
    await here.go(*said)
    await here.reconciler.reconcile()
    control = await here.controls.get(subject + STAGES[stage].suffix)
    assert control is not None
    assert (control.stage, control.ready, control.ended) == (stage, True, False)
    assert stage in await here.controls.claimable()


async def test_what_is_over_is_over_after_a_loss_and_leases_from_before_run_out_first(here: Worker) -> None:
    await here.go(*ENDED, "benchmark", "benchmarked")
    assert await here.reconciler.restore() == len(STAGES) - 1, "a job has one control document"
    assert await here.reconciler.restore() == 0
    for stage, (subject, _) in LEADS.items():
        control = await here.controls.get(subject + STAGES[stage].suffix)
        assert control is not None, stage
        assert control.ended, stage
    assert await here.controls.claimable() == set()


FAILURES = {
    "validate_file": (FILE, "file", "files", "rejected"),
    "extract_zip": (ZIP, "zip", "archives", "failed"),
    "extract_text": (DOCUMENT, "document", "archives", "failed"),
    "chunk_text": (PART, "read", "documents", "rejected"),
    "plan_corpus": (DOCUMENT, "cut", "archives", "failed"),
    "synthesize_examples": (DOCUMENT, "planned", "archives", "failed"),
    "assemble_dataset": (DOCUMENT, "made", "archives", "failed"),
    "prepare_job": (JOB, "job", "jobs", "failed"),
    "benchmark_model": (BENCHMARK, "benchmark", "benchmarks", "failed"),
}
"""Function → what waits, the last thing said before its handler crashed, and where the failure shows."""


@pytest.mark.parametrize("function", FAILURES)
async def test_whoever_waits_for_a_function_that_crashed_is_told_once(here: Worker, function: str) -> None:
    waits, last, model, shown = FAILURES[function]
    subscription = here.subscriptions[function]
    said = next(names for _, names in LEADS.values() if last in names)
    event = await here.go(*said[: said.index(last) + 1])
    assert event.type in subscription.topics
    for _ in range(2):
        await subscription.on_failure(event, "its function crashed (KeyError)")
    view = await here.documents.get(model, waits)
    assert view is not None
    assert "KeyError" in view[shown]["message"] or "log has" in view[shown]["message"]
    await here.reconciler.reconcile()
    assert await here.documents.get(model, waits) == view


async def test_an_archive_that_crashes_whenever_it_is_taken_up_keeps_none_waiting_and_ends(here: Worker) -> None:
    await here.go("zip", "document")
    seen: list[str] = []

    async def retake(archive: View) -> None:
        seen.append(archive["id"])
        if archive["id"] == ZIP:
            raise KeyError("a bug")

    reconciler = replace(here.reconciler, retakes={"archives": [retake]})
    for round in range(1, MAX_TRIES + 1):
        assert (await here.documents.get("archives", ZIP) or {})["failed"] is None
        await reconciler.reconcile()
        assert seen.count(DOCUMENT) == seen.count(ZIP) == round
    failed = (await here.documents.get("archives", ZIP) or {})["failed"]
    assert failed["code"] == "assembly_failed"
    await reconciler.reconcile()
    assert seen.count(ZIP) == MAX_TRIES


async def test_what_can_never_be_said_keeps_nothing_waiting_and_ends_with_a_code(here: Worker, db: Any) -> None:
    await here.go("file")
    verdict = make(FileRejected(code="c", message="m"), subject="file-good", tenant="local", id="good")
    for subject in [*(f"file-bad-{number}" for number in range(100)), FILE, "file-good"]:
        await here.controls.open(subject, "local", "validate", {"event_id": None})
        await here.controls.end(subject, [verdict])
    await let_time_pass(db)
    await db.controls.update_many({"_id": {"$ne": "file-good"}}, {"$set": {"events": ["{}"]}})
    await db.controls.update_one({"_id": "file-good"}, {"$set": {"touched_at": datetime(2000, 1, 1, tzinfo=UTC)}})
    for _ in range(2):
        await here.reconciler.reconcile()
    good = await here.controls.get("file-good")
    assert good is not None
    assert good.published == 1, "the hundred that cannot be said are not first for ever"
    await db.controls.delete_many({"_id": {"$regex": "bad"}})
    for _ in range(MAX_TRIES):
        await let_time_pass(db)
        await here.reconciler.reconcile()
    rejected = (await here.documents.get("files", FILE) or {})["rejected"]
    assert rejected["code"] == "validation_failed"
    control = await here.controls.get(FILE)
    assert control is not None
    assert (control.ended, control.published) == (True, 1)
