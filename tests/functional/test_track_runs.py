"""Runs in a tracker, of the golden log: what is written of jobs and benchmarks, and what a deletion takes from it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from contracts.envelope import Event, make
from contracts.events.benchmarks import BenchmarkCompleted
from contracts.events.files import FileDeleted
from contracts.events.jobs import JobDeleted, JobProgressed, JobSucceeded
from contracts.ports import UnavailableError
from functions.track_runs import core
from functions.track_runs.handler import TrackingPorts, on_event
from infra.adapters.memory import MemoryBlobs, MemoryDocuments, MemoryEmit, MemoryTrack
from tests.events import golden

LOG = [golden.read(json.loads(line)) for line in golden.LOG.read_bytes().splitlines()]
EVENTS = [event for event in LOG if event.type != "run.tracked"]
"""Of a log in which nobody tracked runs yet."""
(SUCCEEDED,) = (event for event in EVENTS if isinstance(event.data, JobSucceeded))
(COMPLETED,) = (event for event in EVENTS if isinstance(event.data, BenchmarkCompleted))
PROGRESSED = [event for event in EVENTS if event.subject == SUCCEEDED.subject and isinstance(event.data, JobProgressed)]
JOB = SUCCEEDED.subject
TRAINING, BENCHMARK = f"{JOB}/training", f"{JOB}/{COMPLETED.subject}"


@dataclass
class Tracking:
    """What the function uses."""

    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    emit: MemoryEmit = field(default_factory=MemoryEmit)
    track: MemoryTrack = field(default_factory=MemoryTrack)

    async def know(self, *events: Event) -> Tracking:
        """Let the read models know all of the golden log, and these."""
        for event in (*EVENTS, *events):
            await self.documents.apply(event)
        return self

    async def hear(self, *events: Event) -> None:
        for event in events:
            await on_event(event, TrackingPorts(self.documents, self.blobs, self.emit, self.track))


async def test_the_runs_of_a_job_have_its_metrics_its_artefacts_and_its_end() -> None:
    here = await Tracking().know()
    view = await here.documents.get("jobs", JOB)
    assert view is not None
    await here.hear(*PROGRESSED, SUCCEEDED, COMPLETED)
    assert set(here.track.runs) == {TRAINING, BENCHMARK}
    training, benchmark = here.track.runs[TRAINING], here.track.runs[BENCHMARK]
    assert training.run.experiment == benchmark.run.experiment
    losses = {(point.step, point.value, point.at) for point in training.points if point.name == "train_loss"}
    said = [(step, each.at) for each in PROGRESSED if isinstance(each.data, JobProgressed) for step in each.data.steps]
    assert losses == {(step.step, step.train_loss, at) for step, at in said}
    assert json.loads(training.files["plan.json"]) == view["plan"]
    assert view["succeeded"]["fine_tuned_model"] in training.files["card.md"].decode()
    assert training.ended == ("finished", SUCCEEDED.at)
    assert benchmark.ended == ("finished", COMPLETED.at)
    assert here.track.models == {
        view["created"]["model"]: {view["succeeded"]["fine_tuned_model"]: view["succeeded"]["manifest"]["key"]}
    }


async def test_a_job_leads_to_each_of_its_runs_once_however_often_they_are_written() -> None:
    here = await Tracking().know()
    for _ in range(2):
        await here.hear(*PROGRESSED, SUCCEEDED, COMPLETED)
    assert [event.type for event in here.emit.events] == ["run.tracked"] * 2
    view = await here.documents.get("jobs", JOB)
    assert view is not None
    assert {(each["kind"], each["run_id"]) for each in view["tracked"]} == {
        ("training", TRAINING),
        ("benchmark", BENCHMARK),
    }


async def test_every_event_of_the_golden_log_is_written_or_has_nothing_to_write() -> None:
    here = await Tracking().know()
    await here.hear(*(event for event in EVENTS if event.type in core.TOPICS))
    ended = {key: kept.ended and kept.ended[0] for key, kept in here.track.runs.items()}
    assert ended[TRAINING] == "finished"
    for event in EVENTS:
        if event.type in ("job.failed", "job.cancelled"):
            view = await here.documents.get("jobs", event.subject)
            assert view is not None
            assert (f"{event.subject}/training" in ended) == (view["plan"] is not None)


async def test_what_is_not_known_yet_is_waited_for() -> None:
    here = Tracking()
    for event in (PROGRESSED[0], COMPLETED):
        with pytest.raises(UnavailableError, match="not known yet"):
            await here.hear(event)
    (created,) = (event for event in EVENTS if event.type == "job.created" and event.subject == JOB)
    await here.documents.apply(created)
    with pytest.raises(UnavailableError, match="the plan of"):
        await here.hear(PROGRESSED[0])
    assert here.track.runs == {}


async def test_what_a_benchmark_stored_lies_beside_its_run_until_its_file_is_deleted() -> None:
    here = await Tracking().know()
    prefix = f"{COMPLETED.tenant}/{COMPLETED.subject}"
    for name in ("report.html", "result.json", "f1.svg"):
        await here.blobs.put(f"{prefix}/{name}", b"canary")
    await here.hear(COMPLETED)
    assert set(here.track.runs[BENCHMARK].files) == {"report.html", "result.json", "pictures/f1.svg"}
    bench = await here.documents.get("benchmarks", COMPLETED.subject)
    view = await here.documents.get("jobs", JOB)
    assert bench is not None
    assert view is not None
    file = bench["requested"]["file"] or view["created"]["training_file"]
    deleted = make(FileDeleted(), subject=file, tenant=COMPLETED.tenant, id="deleted")
    await here.hear(deleted)  # perhaps before the read models know of it
    assert here.track.runs[BENCHMARK].files == {}
    assert here.track.runs[BENCHMARK].points, "scores stay"
    await here.hear(COMPLETED)
    assert here.track.runs[BENCHMARK].files == {}, "what comes late does not bring them back"


async def test_what_a_deleted_job_wrote_goes_although_the_read_models_do_not_know_of_it_yet() -> None:
    here = await Tracking().know()
    await here.hear(SUCCEEDED)
    assert here.track.runs[TRAINING].files
    await here.hear(make(JobDeleted(), subject=JOB, tenant=SUCCEEDED.tenant, id="deleted"))
    assert here.track.runs[TRAINING].files == {}
