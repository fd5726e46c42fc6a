"""P2, P3: whatever the order of events and however often they come, one document results."""

import itertools
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.blobs import BlobRef
from contracts.documents import READ_MODELS, Facts, Stored, fold, grouped, touched
from contracts.documents.facts import Fact, add, fact_of
from contracts.documents.jobs import JOBS
from contracts.envelope import Event, make
from contracts.events import Payload
from contracts.events.batches import (
    BatchCancelRequested,
    BatchCreated,
    BatchEnded,
    BatchFinalizing,
    BatchProgressed,
    BatchStarted,
)
from contracts.events.benchmarks import (
    BenchmarkCompleted,
    BenchmarkedModel,
    BenchmarkFailed,
    BenchmarkProgressed,
    BenchmarkRequested,
    BenchmarkStarted,
)
from contracts.events.completions import (
    CompletionCancelled,
    CompletionDeleted,
    CompletionFailed,
    CompletionRecorded,
    CompletionRequested,
    CompletionStarted,
    CompletionUpdated,
)
from contracts.events.corpus import (
    CorpusPlanned,
    DatasetAssembled,
    DatasetFailed,
    DocumentChunked,
    DocumentExtracted,
    DocumentRejected,
    ExamplesFailed,
    ZipExtracted,
    ZipUploaded,
)
from contracts.events.evals import (
    EvalCreated,
    EvalDeleted,
    EvalRunCancelRequested,
    EvalRunCreated,
    EvalRunDeleted,
    EvalRunEnded,
    EvalRunProgressed,
    EvalRunStarted,
    EvalUpdated,
)
from contracts.events.files import FileDeleted, FileRejected, FileUploaded, FileValidated
from contracts.events.jobs import (
    Histogram,
    JobCancelled,
    JobCheckpointed,
    JobCreated,
    JobDelayed,
    JobFailed,
    JobPaused,
    JobPauseRequested,
    JobProgressed,
    JobQueued,
    JobResumeRequested,
    JobStarted,
    JobSucceeded,
    Plan,
    StepMetrics,
    Tuning,
)
from contracts.events.models import ModelDeleted, ModelRegistered
from contracts.events.notifications import (
    NotificationDelivered,
    NotificationFailed,
    NotificationRequested,
    WebhookEndpointCreated,
    WebhookEndpointDeleted,
    WebhookEndpointUpdated,
)
from contracts.events.permissions import PermissionGranted, PermissionRevoked
from contracts.events.uploads import UploadCancelled, UploadCompleted, UploadCreated
from contracts.manifest import ManifestRef

REF = ManifestRef(key="local/ftjob-1/m", sha256="0" * 64)
BLOB = BlobRef(key="local/file-1/content", sha256="1" * 64, bytes=10)

KEPT: dict[str, Any] = {"kind": "response", "model": "m", "blob": BLOB, "expires_after": 86400}
ENDPOINT: dict[str, Any] = {"name": "n", "url": "https://example.com", "event_types": ("fine_tuning.job.failed",)}


def event(data: Payload, subject: str = "ftjob-1", id: str | None = None, at: int = 1, **more: Any) -> Event:
    made = make(data, subject=subject, tenant="local", id=id or f"{type(data).__name__}-{at}", **more)
    return replace(made, at=at)


def metrics(step: int, loss: float = 1.0) -> StepMetrics:
    return StepMetrics(step=step, train_loss=loss, train_mean_token_accuracy=0.5)


def plan() -> Plan:
    return Plan(
        base=REF,
        base_name="base",
        train=BLOB,
        probe=BLOB,
        template_sha256="2" * 64,
        context=128,
        rows=10,
        tokens=100,
        label_tokens=50,
        longest_row=20,
        histogram=Histogram(edges=(0, 20), counts=(10,)),
        n_epochs=1,
        batch_size=1,
        learning_rate_multiplier=1.0,
        learning_rate=0.1,
        total_steps=10,
        warmup_steps=1,
        checkpoint_every=5,
        seed=1,
        tuning=Tuning(),
        reasons={},
        memory_bytes=1,
        seconds=1.0,
    )


CREATED = event(JobCreated(model="base", training_file="file-1"), at=1)
QUEUED = event(JobQueued(plan=plan()), at=2)
STARTED = event(JobStarted(total_steps=10, holder="h"), at=3, epoch=1, attempt=1)
PAUSE = event(JobPauseRequested(), at=4, epoch=2)
PAUSED = event(JobPaused(step=5), at=5, epoch=2)
RESUME = event(JobResumeRequested(), at=6, epoch=3)
RESTARTED = event(JobStarted(from_step=5, total_steps=10, holder="h"), at=7, id="restart", epoch=3, attempt=2)
SUCCEEDED = event(
    JobSucceeded(
        fine_tuned_model="ft:base:local::x",
        manifest=REF,
        result_files=("file-r",),
        trained_tokens=9,
        step=10,
        prompt_sha256="3" * 64,
    ),
    at=8,
    epoch=3,
    attempt=2,
)


Filing = list[tuple[tuple[str, str], str, Fact]]


def filing(event: Event) -> Filing:
    """Where one event goes and what is filed there."""
    return [
        ((model.name, id), event.id, fact_of(event, model.part(id, event) if model.part else None))
        for model, id in touched(event)
    ]


def filed(filings: Iterable[Filing]) -> dict[tuple[str, str], Facts]:
    """Facts only: what documents are made of; their views are pure functions of them."""
    documents: dict[tuple[str, str], Facts] = {}
    for each in filings:
        for where, id, fact in each:
            documents[where] = add(documents.get(where, {}), id, fact)
    return documents


def folded(events: list[Event]) -> dict[tuple[str, str], Stored]:
    documents: dict[tuple[str, str], Stored] = {}
    for each in events:
        for model, id in touched(each):
            new = fold(model, id, documents.get((model.name, id)), each)
            if new is not None:
                documents[(model.name, id)] = new
    return documents


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([CREATED], "validating_files"),
        ([CREATED, QUEUED], "queued"),
        ([CREATED, QUEUED, STARTED], "running"),
        ([CREATED, QUEUED, STARTED, PAUSE], "running"),
        ([CREATED, QUEUED, STARTED, PAUSE, PAUSED], "paused"),
        ([CREATED, QUEUED, STARTED, PAUSE, PAUSED, RESUME], "queued"),
        ([CREATED, QUEUED, STARTED, PAUSE, PAUSED, RESUME, RESTARTED], "running"),
        ([CREATED, QUEUED, STARTED, PAUSED, SUCCEEDED], "succeeded"),
        ([CREATED, event(JobCancelled(), at=2)], "cancelled"),
    ],
)
def test_the_status_is_a_maximum_in_every_order_of_topics(events: list[Event], status: str) -> None:
    filings = {each.id: filing(each) for each in events}
    for order in itertools.permutations(events):
        view = JOBS.view("ftjob-1", filed(filings[each.id] for each in order)[("jobs", "ftjob-1")])
        assert view is not None
        assert view["status"] == status


SEVEN_KINDS = {
    "a job that was paused": [CREATED, QUEUED, STARTED, PAUSE, PAUSED, RESUME, SUCCEEDED],
    "a job with metrics": [
        CREATED,
        STARTED,
        event(JobProgressed(total_steps=10, steps=(metrics(1), metrics(2))), at=4, epoch=1, attempt=1),
        event(JobProgressed(total_steps=10, steps=(metrics(2, 0.5),)), at=5, id="again", epoch=1, attempt=2),
        event(JobCheckpointed(step=2, manifest=REF, metrics=metrics(2)), at=6, epoch=1, attempt=1),
        event(JobDelayed(code="waiting_for_serving", message="waits"), at=7, epoch=1, attempt=2),
        SUCCEEDED,
    ],
    "a file": [
        event(FileUploaded(blob=BLOB, filename="a", purpose="fine-tune"), "file-1", at=1),
        event(FileValidated(format="jsonl", shape="chat", rows=1, blob=BLOB), "file-1", at=2),
        event(FileRejected(code="c", message="m"), "file-1", at=3),
        event(FileDeleted(), "file-1", at=4),
        CREATED,
    ],
    "an archive": [
        event(ZipUploaded(blob=BLOB, filename="a.zip", purpose="fine-tune"), "file-1", at=1),
        event(ZipExtracted(manifest=BLOB, taken=2, skipped=0), "file-1", at=2),
        event(CorpusPlanned(plan=BLOB, documents=2, chunks=9, held_out=1, duplicates=0, rows=9), "file-1", at=3),
        event(DatasetFailed(code="c", message="m"), "file-1", at=4),
        event(FileDeleted(), "file-1", at=5),
        CREATED,
    ],
    "a document": [
        event(DocumentExtracted(archive="file-1", path="a", text=BLOB, pages=1, characters=1), "doc-1", at=1),
        event(DocumentRejected(archive="file-1", path="a", code="c", message="m"), "doc-1", at=2),
        event(DocumentChunked(archive="file-1", chunks=BLOB, n_chunks=1, tokens=1), "doc-1", at=3),
        event(ExamplesFailed(archive="file-1", code="c", message="m"), "doc-1", at=4),
    ],
    "a benchmark": [
        event(
            BenchmarkRequested(models={"tuned": BenchmarkedModel(name="m", manifest=REF)}, base_name="m"),
            "bench-1",
            at=1,
        ),
        event(BenchmarkStarted(total=9), "bench-1", at=2),
        event(BenchmarkProgressed(done=3, total=9), "bench-1", at=3),
        event(BenchmarkProgressed(done=6, total=9), "bench-1", at=4),
        event(
            BenchmarkCompleted(result=BLOB, items=BLOB, report=BLOB, verdict="better", sentence="s", scores=()),
            "bench-1",
            at=5,
        ),
        event(BenchmarkFailed(code="cancelled", message="m"), "bench-1", at=6),
    ],
    "a completion": [
        event(CompletionRecorded(**KEPT, metadata={"a": "1"}), "resp_1", at=1),
        event(CompletionUpdated(metadata={"a": "2"}), "resp_1", at=2),
        event(CompletionUpdated(metadata={"a": "3"}), "resp_1", at=2, id="at the same moment"),
        event(CompletionDeleted(), "resp_1", at=3),
        event(CompletionDeleted(reason="expired"), "resp_1", at=4),
    ],
    "a response in the background": [
        event(CompletionRequested(model="m", blob=BLOB, expires_after=3600), "resp_2", at=1),
        event(CompletionStarted(), "resp_2", at=2),
        event(CompletionRecorded(**KEPT, tokens=7), "resp_2", at=3),
        event(CompletionFailed(code="server_error", message="m"), "resp_2", at=3),
        event(CompletionCancelled(), "resp_2", at=3),
        event(CompletionDeleted(), "resp_2", at=4),
    ],
    "a webhook endpoint": [
        event(WebhookEndpointCreated(**ENDPOINT, hint="1"), "we_1", at=1),
        event(WebhookEndpointUpdated(**ENDPOINT, hint="2"), "we_1", at=2),
        event(WebhookEndpointUpdated(**ENDPOINT, hint="3"), "we_1", at=2, id="at the same moment"),
        event(WebhookEndpointDeleted(), "we_1", at=4),
    ],
    "a batch": [
        event(BatchCreated(input_file="file-1", endpoint="/v1/completions"), "batch_1", at=1),
        event(BatchStarted(total=9, model="m"), "batch_1", at=2),
        event(BatchProgressed(completed=3, failed=0), "batch_1", at=3),
        event(BatchProgressed(completed=3, failed=2), "batch_1", at=3, id="further at the same moment"),
        event(BatchCancelRequested(), "batch_1", at=4),
        event(BatchFinalizing(), "batch_1", at=5),
        event(BatchEnded(status="cancelled", total=9, completed=3, failed=2), "batch_1", at=6),
    ],
    "an eval": [
        event(EvalCreated(name="a", blob=BLOB), "eval_1", at=1),
        event(EvalUpdated(name="b", metadata={"k": "v"}), "eval_1", at=2),
        event(EvalUpdated(name="c"), "eval_1", at=2, id="at the same moment"),
        event(EvalDeleted(), "eval_1", at=3),
    ],
    "a run of an eval": [
        event(EvalRunCreated(eval="eval_1", name="a", blob=BLOB), "evalrun_1", at=1),
        event(EvalRunStarted(total=9), "evalrun_1", at=2),
        event(EvalRunProgressed(passed=3, failed=0, errored=0), "evalrun_1", at=3),
        event(EvalRunProgressed(passed=2, failed=1, errored=0), "evalrun_1", at=3, id="as far at the same moment"),
        event(EvalRunCancelRequested(), "evalrun_1", at=4),
        event(EvalRunEnded(status="canceled", total=9, passed=3), "evalrun_1", at=5),
        event(EvalRunDeleted(), "evalrun_1", at=6),
    ],
    "a permission": [
        event(PermissionGranted(model="m", project="acme"), "cp_1", at=1),
        event(PermissionRevoked(), "cp_1", at=2),
    ],
    "an upload": [
        event(
            UploadCreated(bytes=1, filename="a", mime_type="text/jsonl", purpose="fine-tune", seconds=60),
            "upload_1",
            at=1,
        ),
        event(UploadCancelled(reason="expired"), "upload_1", at=2),
        event(UploadCompleted(file="file-1"), "upload_1", at=3),
    ],
    "a notification": [
        event(
            NotificationRequested(
                what="fine_tuning.job.failed", job="ftjob-1", event_id="e", at=1, channel="webhook", to="we_1"
            ),
            "note-1",
            at=1,
        ),
        event(NotificationFailed(code="c", message="m"), "note-1", at=2),
        event(NotificationDelivered(answer="200"), "note-1", at=3),
    ],
    "a model": [
        event(
            ModelRegistered(
                kind="adapter",
                manifest=REF,
                template_sha256="2" * 64,
                context=1,
                owned_by="local",
                job="ftjob-1",
                step=1,
            ),
            "ft:base:local::x",
            at=1,
        ),
        event(ModelDeleted(), "ft:base:local::x", at=2),
        CREATED,
        SUCCEEDED,
    ],
}


@pytest.mark.parametrize("events", SEVEN_KINDS.values(), ids=SEVEN_KINDS.keys())
def test_every_order_of_up_to_seven_kinds_of_event_gives_one_document(events: list[Event]) -> None:
    filings, documents = {each.id: filing(each) for each in events}, folded(events)
    facts = filed(filings.values())
    for number, order in enumerate(itertools.permutations(events)):
        assert filed(filings[each.id] for each in order) == facts
        if number % 197 == 0:  # the view of equal facts that were filed in another order
            assert folded(list(order)) == documents


def test_every_read_model_is_touched_by_these_cases() -> None:
    seen = {model for events in SEVEN_KINDS.values() for model, _ in folded(events)}
    assert seen == set(READ_MODELS) - {"keys"}


@settings(max_examples=60)
@given(st.randoms(use_true_random=False), st.integers(0, 20))
def test_duplicates_and_late_copies_change_nothing(rng: random.Random, extra: int) -> None:
    events = [each for case in SEVEN_KINDS.values() for each in case]
    copies = [replace(rng.choice(events), at=100 + n) for n in range(extra)]
    shuffled = events + copies
    rng.shuffle(shuffled)
    assert folded(shuffled) == folded(events)


def test_of_two_bodies_under_one_id_the_same_one_is_kept_in_either_order() -> None:
    one = event(JobCreated(model="a", training_file="file-1"), id="same", at=1)
    two = event(JobCreated(model="b", training_file="file-1"), id="same", at=2)
    first, second = folded([one, two]), folded([two, one])
    assert first[("jobs", "ftjob-1")] == second[("jobs", "ftjob-1")]
    view = first[("jobs", "ftjob-1")].view
    assert view is not None
    assert view["conflict"] is True


SHARED = {"job_events"}
"""Read models whose documents are made of several tenants' facts, or of one event each."""


def test_every_other_read_model_knows_whose_a_document_is() -> None:
    assert {name for name, model in READ_MODELS.items() if not model.births} == SHARED
    for model in READ_MODELS.values():
        assert model.births <= model.topics


@settings(max_examples=60)
@given(st.randoms(use_true_random=False))
def test_a_fact_of_another_tenant_changes_no_document_whichever_comes_first(rng: random.Random) -> None:
    owned = [model for model in READ_MODELS.values() if model.births]
    births = {topic for model in owned for topic in model.births}
    events = [each for case in SEVEN_KINDS.values() for each in case]
    foreign = [
        replace(each, id=f"{each.id}-foreign", tenant="other", at=each.at - 1)
        for each in events
        if each.type not in births
    ]
    assert any(each.type == "job.pause_requested" for each in foreign)
    shuffled = events + foreign
    rng.shuffle(shuffled)
    mine, mixed = folded(events), folded(shuffled)
    for (model, id), stored in mine.items():
        if model not in SHARED:
            assert mixed[(model, id)] == stored


def test_two_tenants_births_leave_nothing_but_themselves_in_either_order() -> None:
    theirs = replace(CREATED, id="theirs", tenant="other", at=9)
    events = [CREATED, QUEUED, theirs, replace(PAUSE, id="pause", tenant="other")]
    results = {repr(sorted(folded(list(order))[("jobs", "ftjob-1")].facts)) for order in itertools.permutations(events)}
    assert results == {repr(sorted([CREATED.id, theirs.id]))}


def test_a_document_without_its_birth_is_unborn_and_a_deleted_file_stays_deleted() -> None:
    assert folded([STARTED])[("jobs", "ftjob-1")].view is None
    events = SEVEN_KINDS["a file"]
    view = folded([events[3], events[0], events[1]])[("files", "file-1")].view
    assert view is not None
    assert view["deleted"] is True


def test_a_newer_attempts_metrics_of_a_step_win() -> None:
    events = SEVEN_KINDS["a job with metrics"]
    shown = [doc.view for (model, _), doc in folded(events).items() if model == "job_events" and doc.view]
    losses = {view["step"]: view["data"]["train_loss"] for view in shown if view["type"] == "metrics"}
    assert losses == {1: 1.0, 2: 0.5}


def test_a_request_from_outside_changes_no_status_by_itself() -> None:
    outside = event(JobResumeRequested(), at=9, id="outside")
    view = folded([CREATED, outside])[("jobs", "ftjob-1")].view
    assert view is not None
    assert view["status"] == "validating_files"


def delayed(code: str, at: int, **more: Any) -> Event:
    return event(JobDelayed(code=code, message="m"), at=at, id=code, **more)


FOR_FILE = delayed("waiting_for_file", 2)
FOR_SERVING = delayed("waiting_for_serving", 4, epoch=1, attempt=1)


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([CREATED, FOR_FILE], "waiting_for_file"),
        ([CREATED, FOR_FILE, QUEUED], None),
        ([CREATED, FOR_FILE, QUEUED, STARTED], None),
        ([CREATED, QUEUED, delayed("waiting_for_minio", 3, epoch=1, attempt=1)], "waiting_for_minio"),
        ([CREATED, QUEUED, STARTED, FOR_SERVING], "waiting_for_serving"),
        ([CREATED, QUEUED, STARTED, FOR_SERVING, PAUSED], None),
        ([CREATED, QUEUED, STARTED, FOR_SERVING, PAUSED, RESUME], None),
        ([CREATED, STARTED, FOR_SERVING, event(JobStarted(total_steps=9, holder="h"), at=5, epoch=1, attempt=2)], None),
        ([CREATED, STARTED, FOR_SERVING, delayed("waiting_for_minio", 5, epoch=1, attempt=2)], "waiting_for_minio"),
        ([CREATED, STARTED, FOR_SERVING, SUCCEEDED], None),
    ],
)
def test_a_job_shows_what_it_waits_for_until_something_newer_happens(events: list[Event], code: str | None) -> None:
    for order in itertools.permutations(events):
        view = folded([*order])[("jobs", "ftjob-1")].view
        assert view is not None
        assert (view["delay"] or {}).get("code") == code


def test_what_is_asked_about_once_a_thing_is_over_is_folded_before_that_says_so() -> None:
    uploaded = make(FileUploaded(blob=BLOB, filename="a", purpose="fine-tune"), subject="file-a", tenant="t", id="1")
    assembled = DatasetAssembled(
        blob=BLOB, rows=1, version="1" * 64, lineage=BLOB, report=BLOB, coverage=1, generator="extractive"
    )
    made = make(assembled, subject="file-b", tenant="t", id="2")
    ended = make(JobFailed(code="c", message="m"), subject="ftjob-1", tenant="t", id="3")
    found = list(grouped([uploaded, made, ended]))
    assert found.index("archives") < found.index("files"), "a file that is processed has its data set"
    assert found.index("job_events") < found.index("jobs"), "a job that has ended has its last event"
    for event in (made, ended):
        names = [model.name for model, _ in touched(event)]
        assert names == sorted(names, key=list(READ_MODELS).index)
