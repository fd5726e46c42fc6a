"""The topics: which payload each carries, its version, and who may publish it."""

from __future__ import annotations

from dataclasses import dataclass

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
    JobCancelled,
    JobCancelRequested,
    JobCheckpointed,
    JobCreated,
    JobDelayed,
    JobDeleted,
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


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of the log."""

    name: str
    payload: type[Payload]
    outside: str | None = None
    """Prefix of the subjects under which outsiders may publish; None: Temper only."""
    born: bool = False
    """Whether it gives birth to its subject."""
    version: int = 1
    """The newest payload version."""


TOPICS: tuple[Topic, ...] = (
    Topic("file.uploaded", FileUploaded, outside="file-", born=True),
    Topic("file.validated", FileValidated),
    Topic("file.rejected", FileRejected),
    Topic("file.deleted", FileDeleted),
    Topic("upload.created", UploadCreated, born=True),
    Topic("upload.completed", UploadCompleted),
    Topic("upload.cancelled", UploadCancelled),
    Topic("zip.uploaded", ZipUploaded, outside="file-", born=True, version=2),
    Topic("zip.extracted", ZipExtracted),
    Topic("document.uploaded", DocumentUploaded, outside="file-", born=True, version=2),
    Topic("document.extracted", DocumentExtracted),
    Topic("document.rejected", DocumentRejected),
    Topic("document.chunked", DocumentChunked),
    Topic("corpus.planned", CorpusPlanned),
    Topic("examples.synthesized", ExamplesSynthesized, version=2),
    Topic("examples.failed", ExamplesFailed),
    Topic("dataset.recurated", DatasetRecurated, outside="file-", born=True),
    Topic("dataset.assembled", DatasetAssembled, version=2),
    Topic("dataset.failed", DatasetFailed),
    Topic("job.created", JobCreated, outside="ftjob-", born=True),
    Topic("job.queued", JobQueued),
    Topic("job.pause_requested", JobPauseRequested, outside="ftjob-"),
    Topic("job.resume_requested", JobResumeRequested, outside="ftjob-"),
    Topic("job.cancel_requested", JobCancelRequested, outside="ftjob-"),
    Topic("job.started", JobStarted),
    Topic("job.progressed", JobProgressed),
    Topic("job.checkpointed", JobCheckpointed),
    Topic("job.paused", JobPaused),
    Topic("job.delayed", JobDelayed),
    Topic("job.succeeded", JobSucceeded),
    Topic("job.failed", JobFailed),
    Topic("job.cancelled", JobCancelled),
    Topic("job.deleted", JobDeleted),
    Topic("run.tracked", RunTracked),
    Topic("model.registered", ModelRegistered),
    Topic("model.deleted", ModelDeleted),
    Topic("permission.granted", PermissionGranted, born=True),
    Topic("permission.revoked", PermissionRevoked),
    Topic("benchmark.requested", BenchmarkRequested, outside="bench-", born=True),
    Topic("benchmark.started", BenchmarkStarted),
    Topic("benchmark.progressed", BenchmarkProgressed),
    Topic("benchmark.completed", BenchmarkCompleted),
    Topic("benchmark.failed", BenchmarkFailed),
    Topic("batch.created", BatchCreated, born=True),
    Topic("batch.started", BatchStarted),
    Topic("batch.progressed", BatchProgressed),
    Topic("batch.cancel_requested", BatchCancelRequested),
    Topic("batch.finalizing", BatchFinalizing),
    Topic("batch.ended", BatchEnded),
    Topic("eval.created", EvalCreated, born=True),
    Topic("eval.updated", EvalUpdated),
    Topic("eval.deleted", EvalDeleted),
    Topic("eval_run.created", EvalRunCreated, born=True),
    Topic("eval_run.started", EvalRunStarted),
    Topic("eval_run.progressed", EvalRunProgressed),
    Topic("eval_run.cancel_requested", EvalRunCancelRequested),
    Topic("eval_run.ended", EvalRunEnded),
    Topic("eval_run.deleted", EvalRunDeleted),
    Topic("completion.requested", CompletionRequested, born=True),
    Topic("completion.started", CompletionStarted),
    Topic("completion.failed", CompletionFailed),
    Topic("completion.cancelled", CompletionCancelled),
    Topic("completion.recorded", CompletionRecorded),
    Topic("completion.updated", CompletionUpdated),
    Topic("completion.deleted", CompletionDeleted),
    Topic("key.created", KeyCreated),
    Topic("key.revoked", KeyRevoked),
    Topic("webhook_endpoint.created", WebhookEndpointCreated),
    Topic("webhook_endpoint.updated", WebhookEndpointUpdated),
    Topic("webhook_endpoint.deleted", WebhookEndpointDeleted),
    Topic("notification.requested", NotificationRequested),
    Topic("notification.delivered", NotificationDelivered),
    Topic("notification.failed", NotificationFailed),
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
