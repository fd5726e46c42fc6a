"""P3, P5: what is said again and again makes no document larger, and what is shown of it stays right."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import bson
import pytest

from contracts.blobs import BlobRef
from contracts.canonical import compact
from contracts.documents import READ_MODELS, Stored, facts, fold, touched
from contracts.documents.models import PUBLIC
from contracts.envelope import Event, PoisonError, make
from contracts.events import Payload
from contracts.events.files import FileUploaded, FileValidated
from contracts.events.jobs import (
    JobCreated,
    JobDelayed,
    JobPaused,
    JobPauseRequested,
    JobProgressed,
    JobResumeRequested,
    JobStarted,
    RunTracked,
    StepMetrics,
)
from contracts.events.models import ModelDeleted, ModelRegistered
from contracts.manifest import ManifestRef
from tests.events import golden
from tests.sizes import sized

FILE, JOB, BASE = "file-1", "ftjob-1", "base"
BLOB = BlobRef(key=f"local/{FILE}/content", sha256="1" * 64, bytes=10)
MANIFEST = ManifestRef(key="public/base/manifest.json", sha256="0" * 64)
REGISTERED = ModelRegistered(kind="base", manifest=MANIFEST, template_sha256="2" * 64, context=64, owned_by=PUBLIC)
METADATA = {f"{number:064d}": "v" * 512 for number in range(16)}
MANY = sized(5_000, 20_000)
Documents = dict[tuple[str, str], Stored]


class Work:
    """Counts what folding has to write out."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        patch.setattr(facts, "compact", self._compact)

    def _compact(self, value: Any) -> bytes:
        written = compact(value)
        self.bytes += len(written)
        return written


def event(data: Payload, subject: str, at: int, tenant: str = "local", **more: Any) -> Event:
    more = {"id": f"{type(data).__name__}-{subject}-{at}", **more}
    return replace(make(data, subject=subject, tenant=tenant, **more), at=at)


def folded(events: Iterable[Event], documents: Documents | None = None) -> Documents:
    documents = {} if documents is None else documents
    for each in events:
        for model, id in touched(each):
            new = fold(model, id, documents.get((model.name, id)), each)
            if new is not None:
                documents[model.name, id] = new
    return documents


def size(stored: Stored) -> int:
    """Bytes as MongoDB or JSON has them, whichever are more."""
    document = {"facts": stored.facts, "view": stored.view, "etag": stored.etag}
    return max(len(bson.encode(document)), len(compact(document)))


def test_thousands_of_jobs_on_one_base_and_one_file_make_no_document_large(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = folded(
        [
            event(REGISTERED, BASE, 1, PUBLIC),
            event(FileUploaded(blob=BLOB, filename="a", purpose="fine-tune"), FILE, 2),
            event(FileValidated(format="jsonl", shape="chat", rows=20, blob=BLOB), FILE, 3),
        ]
    )
    work, done = Work(monkeypatch), list[int]()
    for number in range(MANY):
        metadata = METADATA if number % 100 == 0 else {}
        data = JobCreated(model=BASE, training_file=FILE, validation_file=FILE, metadata=metadata)
        documents = folded([event(data, f"ftjob-{number}", 10 + number)], dict(shared))
        if number % 100 == 0:
            assert max(size(stored) for stored in documents.values()) < 2**20
        shared = {where: documents[where] for where in shared}  # the others are this job's own
        done.append(work.bytes)
    first, last = done[999], done[-1] - done[-1001]
    assert last < 1.02 * first, "what a job costs must not grow with the jobs before it"


REPEATED = sorted({topic for model in READ_MODELS.values() for topic in model.topics})


@pytest.mark.parametrize("newer", [{}, {"epoch": True}, {"attempt": True}], ids=["again", "epochs", "attempts"])
@pytest.mark.parametrize("topic", REPEATED)
def test_whatever_is_said_two_hundred_times_of_a_thing_is_kept_a_few_times(topic: str, newer: dict[str, bool]) -> None:
    said = golden.read(json.loads((golden.HERE / f"{topic}.v1.json").read_text()))
    again = [
        replace(said, id=f"{said.id}-{number}", at=number, **dict.fromkeys(newer, number)) for number in range(1, 201)
    ]
    documents = folded(again[:100])
    counts = {where: len(stored.facts) for where, stored in documents.items()}
    for where, stored in folded(again[100:], documents).items():
        if where in counts:  # a document per item may come with each
            assert len(stored.facts) == counts[where], where
            assert size(stored) < 2**18


def cycles(count: int) -> Iterator[Event]:
    """A job that is started and paused over and over, for each second time from outside as well."""
    yield event(JobCreated(model=BASE, training_file=FILE), JOB, 1)
    at = 1
    for number in range(count):
        epoch = 2 * number + 1
        for data, of in (
            (JobStarted(from_step=number, total_steps=count, holder="h"), {"epoch": epoch, "attempt": number + 1}),
            (JobDelayed(code="waits", message=f"wait {number}"), {"epoch": epoch, "attempt": number + 1}),
            (RunTracked(kind="benchmark", tracker="mlflow", run_id=f"run-{number}", url="u"), {}),
            (JobPauseRequested(), {}),
            (JobPauseRequested(), {"epoch": epoch + 1}),
            (JobPaused(step=number + 1), {"epoch": epoch + 1}),
            (JobResumeRequested(), {"epoch": epoch + 2}),
        ):
            at += 1
            yield event(data, JOB, at, **of)


def test_a_job_that_is_paused_and_resumed_for_ever_stays_small_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    first_run = event(RunTracked(kind="training", tracker="wandb", run_id="mine", url="u"), JOB, 0)
    work = Work(monkeypatch)
    halfway = folded([first_run, *cycles(300)])
    half = work.bytes
    documents = folded([first_run, *cycles(600)])
    assert work.bytes - half < 2.1 * half
    del halfway
    assert max(size(stored) for stored in documents.values()) < 2**16
    view = documents["jobs", JOB].view
    assert view is not None
    assert (view["status"], view["started_at"], view["delay"]) == ("queued", 2, None)
    assert [run["attempt"] for run in view["runs"]] == list(range(537, 601))
    latest = max((each for each in view["requests"] if each["epoch"]), key=lambda each: int(each["epoch"]))
    assert (latest["topic"], latest["epoch"]) == ("job.resume_requested", 1201)
    assert [each["run_id"] for each in view["tracked"] if each["tracker"] == "wandb"] == ["mine"]
    assert "run-599" in {each["run_id"] for each in view["tracked"]}
    of: dict[str, Any] = {"epoch": 1201, "attempt": 601}
    last = [
        event(JobStarted(total_steps=9, holder="h"), JOB, 9998, **of),
        event(JobDelayed(code="waits", message="the last"), JOB, 9999, **of),
    ]
    view = folded(last, documents)["jobs", JOB].view
    assert view is not None
    assert (view["status"], view["delay"]["message"]) == ("running", "the last")


def test_topics_that_overtake_each_other_and_batches_read_twice_give_the_same_document() -> None:
    events = list(cycles(120))
    expected = folded(events)["jobs", JOB]
    rng = random.Random(1)
    for _ in range(5):
        by_topic: dict[str, list[Event]] = {}
        for each in events:
            by_topic.setdefault(each.type, []).append(each)
        documents: Documents = {}
        while waiting := [topic for topic in by_topic.values() if topic]:
            topic = rng.choice(waiting)
            batch = topic[: rng.randint(1, 40)]
            folded(batch, documents)
            if rng.random() < 0.8:  # else a crash: the same batch comes once more
                del topic[: len(batch)]
        assert documents["jobs", JOB] == expected


def test_another_tenants_requests_push_none_of_the_owners_out() -> None:
    born = event(JobCreated(model=BASE, training_file=FILE), JOB, 1)
    own = event(JobPauseRequested(), JOB, 2, epoch=2)
    foreign = [event(JobPauseRequested(), JOB, at, "other", epoch=at) for at in range(3, 50)]
    view = folded([own, *foreign, born])["jobs", JOB].view
    assert view is not None
    assert own.id in {each["id"] for each in view["requests"]}


def test_a_base_that_is_registered_and_deleted_for_ever_shows_its_newest_registration() -> None:
    events = []
    for number in range(1000):
        data = REGISTERED.model_copy(update={"context": number})
        events += [event(data, BASE, 2 * number + 1, PUBLIC), event(ModelDeleted(), BASE, 2 * number + 2, PUBLIC)]
    ((_, gone),) = folded(events).items()
    ((_, back),) = folded([*events, event(REGISTERED, BASE, 3000, PUBLIC)]).items()
    assert gone.view is not None
    assert back.view is not None
    assert (gone.view["deleted"], gone.view["context"], gone.view["created_at"]) == (True, 999, 1)
    assert (back.view["deleted"], back.view["context"], back.view["created_at"]) == (False, 64, 1)
    assert size(back) < 2**13


def test_a_step_made_by_a_thousand_attempts_shows_the_newest() -> None:
    def made(attempt: int) -> Event:
        step = StepMetrics(step=1, train_loss=attempt, train_mean_token_accuracy=0.5)
        return event(JobProgressed(total_steps=1, steps=(step,)), JOB, attempt, epoch=1, attempt=attempt)

    ((_, stored),) = folded(made(attempt) for attempt in range(1, 1001)).items()
    assert stored.view is not None
    assert (stored.view["attempt"], stored.view["data"]["train_loss"]) == (1000, 1000)
    assert size(stored) < 2**13


def test_a_fact_that_would_make_a_document_too_large_is_refused_with_its_size() -> None:
    data = JobDelayed(code="c", message="m")
    large = replace(event(data, JOB, 1), data=data.model_construct(code="c", message="x" * 2**20))
    with pytest.raises(
        PoisonError, match=r"job_events/ftevent-.* would have .* bytes; a document has 1048576 at most"
    ) as error:
        folded([large])
    assert error.value.code == "document_too_large"
