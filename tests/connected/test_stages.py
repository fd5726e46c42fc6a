"""P5: what nobody is at is taken up in every stage, on real stores, and what cannot be done ends with a code."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import pytest_asyncio

from contracts.blobs import BlobRef
from contracts.controls import unheld
from contracts.corpus import document_id
from contracts.documents import View
from contracts.documents.models import PUBLIC
from contracts.envelope import Event, derived_id, make
from contracts.events import Payload
from contracts.events.batches import BatchCreated, BatchEnded
from contracts.events.benchmarks import BenchmarkCompleted, BenchmarkedModel, BenchmarkRequested
from contracts.events.completions import CompletionRecorded, CompletionRequested
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
from contracts.events.evals import EvalCreated, EvalRunCreated, EvalRunEnded
from contracts.events.files import FileRejected, FileUploaded, FileValidated
from contracts.events.jobs import JobCreated, JobFailed, JobQueued
from contracts.events.keys import KeyCreated
from contracts.events.models import ModelRegistered
from contracts.events.notifications import NotificationDelivered, NotificationRequested
from contracts.ports import Lease
from functions.edge.app import create_app
from functions.edge.auth import RANDOM_BYTES, encode_key, key_hash
from functions.edge.context import EdgeDeps
from infra.adapters.kafka import KafkaEmit, Subscription, ensure_topics
from infra.adapters.mongo.controls import MongoControls
from infra.adapters.mongo.documents import MongoDocuments
from infra.runtime.dispatch import subscription
from infra.runtime.functions import of_role, stages
from infra.runtime.hosting import host
from infra.runtime.leases import Placed, Runner, WakeUps
from infra.runtime.reconciler import MAX_TRIES, Reconciler
from infra.runtime.world import new_id, now_ms
from infra.settings import Settings
from tests.connected.log import KEY, until
from tests.connected.stores import minio_blobs
from tests.connected.test_reconciler import BASE, BASE_REF, let_time_pass
from tests.functional.edge import plan

pytestmark = [pytest.mark.connected, pytest.mark.usefixtures("whole")]
HASH = "0" * 64
STAGES = stages()
NOTHING: Any = None
BLOB = BlobRef(key="local/any", sha256=HASH, bytes=1)
FILE, ZIP, DOCUMENT, JOB, BENCHMARK, NOTE = "file-rows", "file-zip", "file-document", "ftjob-1", "bench-1", "note-1"
BATCH, EVAL, RUN, RESPONSE = "batch-1", "eval-1", "evalrun-1", "resp_1"
PART = document_id(DOCUMENT, HASH)
BASE_MODEL = ModelRegistered(kind="base", manifest=BASE_REF, template_sha256=HASH, context=64, owned_by=PUBLIC)


@dataclass
class Worker:
    """What a worker reacts and sweeps with, and the edge that shows it; it computes nothing."""

    documents: MongoDocuments
    controls: MongoControls
    reconciler: Reconciler
    subscriptions: dict[str, Subscription]
    plan: BlobRef
    source: BlobRef
    """Of a run of an eval."""
    asked: BlobRef
    """Of a response in the background."""
    api: httpx.AsyncClient

    async def state(self, path: str) -> tuple[str, str | None]:
        """Ask the API; returns (`unfinished` or the sentence that it ended with, the code of what it waits for)."""
        shown = (await self.api.get(path)).json()
        delay = shown.get("delay") or shown.get("temper", {}).get("delay") or {}
        if shown["status"] in UNFINISHED:
            return "unfinished", delay.get("code")
        errors = (shown.get("errors") or {}).get("data") or [shown.get("error")]
        return shown.get("status_details") or errors[0]["message"], delay.get("code")

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
            "note": (
                NotificationRequested(
                    what="fine_tuning.job.failed", job=JOB, event_id="e", at=1, channel="webhook", to="we_1"
                ),
                NOTE,
            ),
            "told": (NotificationDelivered(answer="200"), NOTE),
            "batch": (BatchCreated(input_file=FILE, endpoint="/v1/chat/completions"), BATCH),
            "answered": (BatchEnded(status="completed"), BATCH),
            "eval": (EvalCreated(name="e", blob=self.source), EVAL),
            "run": (EvalRunCreated(eval=EVAL, name="r", blob=self.source), RUN),
            "graded": (EvalRunEnded(status="completed"), RUN),
            "response": (CompletionRequested(model=BASE, blob=self.asked, expires_after=3600), RESPONSE),
            "recorded": (
                CompletionRecorded(kind="response", model=BASE, blob=BLOB, expires_after=3600),
                RESPONSE,
            ),
        }
        event = await self.say(BASE_MODEL, BASE, PUBLIC)
        for name in names:
            event = await self.say(*said[name])
        return event


ASKED = {
    "files": "/v1/files/{id}",
    "archives": "/v1/files/{id}",
    "documents": "/v1/files/{id}",
    "jobs": "/v1/fine_tuning/jobs/{id}",
    "benchmarks": "/v1/benchmarks/{id}",
    "notifications": "/v1/notifications/{id}",
    "batches": "/v1/batches/{id}",
    "eval_runs": f"/v1/evals/{EVAL}/runs/{{id}}",
    "completions": "/v1/responses/{id}",
}
"""Read model → where the API shows what it is worked on for."""
UNFINISHED = {"uploaded", "validating_files", "queued", "running", "validating"}
OF_ITS_OWN = {
    "validate",
    "extract_zip",
    "prepare",
    "train",
    "benchmark",
    "notify",
    "run_batch",
    "run_eval",
    "answer_response",
}
"""Stages whose control document has the name by which the API asks: it says there who is missing."""

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
    "notify": (NOTE, ["note"]),
    "run_batch": (BATCH, ["batch"]),
    "run_eval": (RUN, ["eval", "run"]),
    "answer_response": (RESPONSE, ["response"]),
}
"""Stage → what is worked on there, and what was said before."""
ENDED = ["file", "valid", "zip", "unpacked", *LEADS["assemble_dataset"][1], "assembled", "job", "queued", "failed"]


@pytest_asyncio.fixture
async def here(servers: Settings, db: Any) -> AsyncIterator[Worker]:
    await ensure_topics(str(servers.kafka_bootstrap))
    emit = KafkaEmit(str(servers.kafka_bootstrap), KEY)
    documents, controls = MongoDocuments(db), MongoControls(db)
    key = encode_key(bytes(RANDOM_BYTES))
    await documents.apply(
        replace(make(KeyCreated(sha256=key_hash(key), hint=key[-4:]), subject="key-1", tenant="local", id="k"), at=1)
    )
    unasked: Any = None
    async with minio_blobs(servers) as blobs:
        edge = EdgeDeps(blobs, emit, documents, controls, unasked, unasked, unasked, new_id)
        api = httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(edge)),
            base_url="http://edge",
            headers={"authorization": f"Bearer {key}"},
        )
        chunks = {"chunks": [{"document": PART, "rows": 1}]}
        stored = await blobs.put(f"local/{uuid.uuid4().hex}", json.dumps(chunks).encode())
        content = {"data_source": {"type": "jsonl"}, "testing_criteria": []}
        source = await blobs.put(f"local/{RUN}/content", json.dumps(content).encode())
        asked = await blobs.put(f"local/{RESPONSE}/request", json.dumps({"response": {"id": RESPONSE}}).encode())
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
            source,
            asked,
            api,
        )
        await api.aclose()
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


@pytest.mark.parametrize("stage", LEADS)
async def test_what_is_unfinished_is_shown_says_who_is_missing_goes_on_and_ends_with_a_sentence(
    here: Worker, db: Any, stage: str
) -> None:
    shown, (subject, said) = STAGES[stage], LEADS[stage]
    event = await here.go(*said)
    await here.reconciler.reconcile()
    id, asked = subject + shown.suffix, ASKED[shown.model].format(id=getattr(event.data, "archive", event.subject))
    assert await here.state(asked) == ("unfinished", None), "it waits for its turn"

    claim = await here.controls.claim(stage, "a worker")
    assert claim is not None
    assert claim.subject == id
    assert await here.state(asked) == ("unfinished", None), "somebody is at it"
    await let_time_pass(db, "expires_at")
    missing = f"waiting_for_{'trainer' if stage == 'train' else 'worker'}"
    assert (unheld(await here.controls.get(id)) or {}).get("code") == missing
    assert await here.state(asked) == ("unfinished", missing if stage in OF_ITS_OWN else None)

    begun = asyncio.Event()

    async def crash(lease: Lease) -> Sequence[Event]:
        begun.set()
        raise KeyError("a bug")

    wake_ups = WakeUps()
    ports = (here.controls, here.reconciler.emit, here.documents, wake_ups)
    another = Runner(Placed(shown, crash), "another", *ports)

    async def ended() -> bool:
        await let_time_pass(db)
        wake_ups(stage)
        return bool((control := await here.controls.get(id)) and control.ended)

    running = asyncio.create_task(another.run())
    try:
        await until(ended)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert begun.is_set(), "the next worker went on with it"
    for _ in range(2):
        await let_time_pass(db)
        await here.reconciler.reconcile()
    view = await here.documents.get(shown.model, subject)
    assert view is not None
    assert shown.over(view)
    ending = failure(view)
    assert ending["code"]
    assert "KeyError" in ending["message"] or "its log has" in ending["message"]
    if shown.model != "documents":  # of one document an archive goes on with the others
        assert (await here.state(asked))[0] == ending["message"]


async def test_what_is_over_is_over_after_a_loss_and_leases_from_before_run_out_first(here: Worker) -> None:
    await here.go(*ENDED, "benchmark", "benchmarked", "note", "told", "batch", "answered", "eval", "run", "graded")
    await here.go("response", "recorded")
    assert await here.reconciler.restore() == len(STAGES) - 1, "a job has one control document"
    assert await here.reconciler.restore() == 0
    for stage, (subject, _) in LEADS.items():
        control = await here.controls.get(subject + STAGES[stage].suffix)
        assert control is not None, stage
        assert control.ended, stage
    assert await here.controls.claimable() == set()


def failure(view: View) -> dict[str, str]:
    """Return code and message with which something ended, as its read model has them."""
    if isinstance(ended := view.get("ended"), dict):
        return ended["errors"][0] if ended.get("errors") else ended
    return next(view[name] for name in ("rejected", "failed", "error") if view.get(name))


FAILURES = {
    "validate_file": (FILE, "file", "files"),
    "extract_zip": (ZIP, "zip", "archives"),
    "extract_text": (DOCUMENT, "document", "archives"),
    "chunk_text": (PART, "read", "documents"),
    "plan_corpus": (DOCUMENT, "cut", "archives"),
    "synthesize_examples": (DOCUMENT, "planned", "archives"),
    "assemble_dataset": (DOCUMENT, "made", "archives"),
    "prepare_job": (JOB, "job", "jobs"),
    "benchmark_model": (BENCHMARK, "benchmark", "benchmarks"),
    "notify": (NOTE, "note", "notifications"),
    "run_batch": (BATCH, "batch", "batches"),
    "run_eval": (RUN, "run", "eval_runs"),
    "answer_response": (RESPONSE, "response", "completions"),
}
"""Function → what waits, the last thing said before its handler crashed, and the read model that shows the failure."""


@pytest.mark.parametrize("function", FAILURES)
async def test_whoever_waits_for_a_function_that_crashed_is_told_once(here: Worker, function: str) -> None:
    waits, last, model = FAILURES[function]
    subscription = here.subscriptions[function]
    said = next(names for _, names in LEADS.values() if last in names)
    event = await here.go(*said[: said.index(last) + 1])
    assert event.type in subscription.topics
    for _ in range(2):
        await subscription.on_failure(event, "its function crashed (KeyError)")
    view = await here.documents.get(model, waits)
    assert view is not None
    assert "KeyError" in failure(view)["message"] or "log has" in failure(view)["message"]
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
