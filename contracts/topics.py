"""The topics: which payload each carries, its version, and who may publish it."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.events import Payload
from contracts.events.benchmarks import (
    BenchmarkCompleted,
    BenchmarkFailed,
    BenchmarkProgressed,
    BenchmarkRequested,
    BenchmarkStarted,
)
from contracts.events.corpus import (
    CorpusPlanned,
    DatasetAssembled,
    DatasetFailed,
    DatasetRecurated,
    DocumentChunked,
    DocumentExtracted,
    DocumentRejected,
    DocumentUploaded,
    ExamplesFailed,
    ExamplesSynthesized,
    ZipExtracted,
    ZipUploaded,
)
from contracts.events.dead import DeadLetter
from contracts.events.files import FileDeleted, FileRejected, FileUploaded, FileValidated
from contracts.events.jobs import (
    JobCancelled,
    JobCancelRequested,
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
    RunTracked,
)
from contracts.events.keys import KeyCreated, KeyRevoked
from contracts.events.models import ModelDeleted, ModelRegistered


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of the log."""

    name: str
    payload: type[Payload]
    consumers: tuple[str, ...] = ()
    """Functions that react to it, besides the projections."""
    outside: str | None = None
    """Prefix of the subjects under which outsiders may publish; None: Temper only."""
    born: bool = False
    """Whether it gives birth to its subject."""
    version: int = 1
    """The newest payload version."""


TOPICS: tuple[Topic, ...] = (
    Topic("file.uploaded", FileUploaded, ("validate_file", "prepare_job"), outside="file-", born=True),
    Topic("file.validated", FileValidated, ("prepare_job",)),
    Topic("file.rejected", FileRejected, ("prepare_job",)),
    Topic("file.deleted", FileDeleted, ("prepare_job", "erase_content", "track_runs")),
    Topic("zip.uploaded", ZipUploaded, ("extract_zip", "prepare_job"), outside="file-", born=True),
    Topic("zip.extracted", ZipExtracted, ("extract_text", "plan_corpus")),
    Topic("document.uploaded", DocumentUploaded, ("extract_text", "prepare_job"), outside="file-", born=True),
    Topic("document.extracted", DocumentExtracted, ("chunk_text",)),
    Topic("document.rejected", DocumentRejected, ("plan_corpus",)),
    Topic("document.chunked", DocumentChunked, ("plan_corpus",)),
    Topic("corpus.planned", CorpusPlanned, ("synthesize_examples", "assemble_dataset")),
    Topic("examples.synthesized", ExamplesSynthesized, ("assemble_dataset",)),
    Topic("examples.failed", ExamplesFailed, ("assemble_dataset",)),
    Topic("dataset.recurated", DatasetRecurated, ("assemble_dataset", "prepare_job"), outside="file-", born=True),
    Topic("dataset.assembled", DatasetAssembled, ("prepare_job",)),
    Topic("dataset.failed", DatasetFailed, ("prepare_job",)),
    Topic("job.created", JobCreated, ("prepare_job", "control_job"), outside="ftjob-", born=True),
    Topic("job.queued", JobQueued, ("train_model", "track_runs")),
    Topic("job.pause_requested", JobPauseRequested, ("control_job",), outside="ftjob-"),
    Topic("job.resume_requested", JobResumeRequested, ("control_job",), outside="ftjob-"),
    Topic("job.cancel_requested", JobCancelRequested, ("control_job",), outside="ftjob-"),
    Topic("job.started", JobStarted),
    Topic("job.progressed", JobProgressed, ("track_runs",)),
    Topic("job.checkpointed", JobCheckpointed),
    Topic("job.paused", JobPaused),
    Topic("job.delayed", JobDelayed),
    Topic("job.succeeded", JobSucceeded, ("benchmark_model", "erase_content", "track_runs", "track_wandb")),
    Topic("job.failed", JobFailed, ("erase_content", "track_runs", "track_wandb")),
    Topic("job.cancelled", JobCancelled, ("erase_content", "track_runs", "track_wandb")),
    Topic("run.tracked", RunTracked),
    Topic("model.registered", ModelRegistered, ("prepare_job",)),
    Topic("model.deleted", ModelDeleted),
    Topic("benchmark.requested", BenchmarkRequested, ("benchmark_model",), outside="bench-", born=True),
    Topic("benchmark.started", BenchmarkStarted),
    Topic("benchmark.progressed", BenchmarkProgressed),
    Topic("benchmark.completed", BenchmarkCompleted, ("track_runs",)),
    Topic("benchmark.failed", BenchmarkFailed),
    Topic("key.created", KeyCreated),
    Topic("key.revoked", KeyRevoked),
    Topic("dead.letter", DeadLetter),
)

_BY_NAME = {topic.name: topic for topic in TOPICS}
_BY_PAYLOAD = {topic.payload: topic for topic in TOPICS}

ENDINGS = frozenset({"job.succeeded", "job.failed", "job.cancelled"})


def named(name: str) -> Topic | None:
    """Return the topic of that name, or None."""
    return _BY_NAME.get(name)


def of(payload: Payload) -> Topic:
    """Return the topic that carries `payload`."""
    return _BY_PAYLOAD[type(payload)]
