"""What a run says: its events, its result files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from contracts.blobs import BlobRef
from contracts.controls import Checkpoint, Claim, Control
from contracts.envelope import Event, derived_id, make
from contracts.erasure import checkpoints_prefix
from contracts.events.files import FileUploaded
from contracts.events.jobs import (
    JobCheckpointed,
    JobDelayed,
    JobFailed,
    JobPaused,
    JobProgressed,
    JobStarted,
    JobSucceeded,
    Plan,
    StepMetrics,
)
from contracts.events.models import ModelRegistered
from contracts.manifest import Manifest, ManifestFile
from contracts.results import CSV, JSONL, PURPOSE, result_ids
from functions.train_model.model_names import model_name

MAX_STEPS_PER_EVENT = 500
STORES = {"kafka": "Kafka", "minio": "the object store", "mongo": "MongoDB"}


def checkpoint_prefix(control: Control, attempt: int, step: int) -> str:
    """Return the blob prefix of one checkpoint."""
    return f"{checkpoints_prefix(control.tenant, control.subject)}{attempt}/{step}/"


def manifest_of(plan: Plan, step: int, prefix: str, files: Iterable[Mapping[str, Any]]) -> Manifest:
    """Return the manifest of a checkpoint whose files (as the child named them) lie under `prefix`."""
    return Manifest(
        kind="adapter" if plan.tuning.kind == "lora" else "full",
        base=plan.base,
        files=tuple(
            ManifestFile(
                path=file["path"],
                key=prefix + file["path"],
                sha256=file["sha256"],
                bytes=file["bytes"],
                role=file["role"],
            )
            for file in sorted(files, key=lambda file: str(file["path"]))
        ),
        template_sha256=plan.template_sha256,
        context=plan.context,
        step=step,
        chat_template_kwargs=plan.chat_template_kwargs,
        row_shape=plan.row_shape,
    )


def started(control: Control, attempt: int, plan: Plan, from_step: int, device: str) -> Event:
    """Return the announcement that must be acknowledged before the child starts."""
    data = JobStarted(from_step=from_step, total_steps=plan.total_steps, holder=control.holder or "", device=device)
    return _event(data, control, attempt, "job.started")


def progressed(control: Control, attempt: int, plan: Plan, steps: Sequence[StepMetrics]) -> Event:
    """Return one batch of metrics, identified by its first step."""
    data = JobProgressed(total_steps=plan.total_steps, steps=tuple(steps))
    return _event(data, control, attempt, "job.progressed", steps[0].step)


def checkpointed(control: Control, checkpoint: Checkpoint, metrics: StepMetrics) -> Event:
    """Return the event of a checkpoint that is stored and visible."""
    data = JobCheckpointed(
        step=checkpoint.step, epoch_end=checkpoint.epoch_end, manifest=checkpoint.manifest, metrics=metrics
    )
    return _event(data, control, checkpoint.fence, "job.checkpointed", checkpoint.step)


def paused(control: Control, step: int) -> Event:
    """Return the event that the job rests, in the epoch of the pause."""
    return make(
        JobPaused(step=step),
        subject=control.subject,
        tenant=control.tenant,
        id=derived_id(control.subject, "job.paused", control.epoch),
        epoch=control.epoch,
    )


def waiting(control: Control, attempt: int, dependency: str) -> Event:
    """Return the event that only a dependency is missing: the proof's, or one of training."""
    message = f"The job waits for {STORES.get(dependency, dependency)}, which does not answer; then it goes on."
    if dependency == "serving":
        message = "Training is done; the job waits for the serving process to load the model and answer."
    return _delayed(control, attempt, f"waiting_for_{dependency}", message)


def interrupted(control: Control, attempt: int, why: str) -> Event:
    """Return the event that an attempt ended before its time and another one will follow."""
    message = f"Attempt {attempt} ended early: {why}. The next one goes on from the newest checkpoint."
    return _delayed(control, attempt, "interrupted", message)


def failed(control: Control, attempt: int, code: str, message: str) -> Event:
    """Return the failing end of a job."""
    return make(
        JobFailed(code=code, message=message),
        subject=control.subject,
        tenant=control.tenant,
        id=derived_id(control.subject, "end"),
        epoch=control.epoch,
        attempt=attempt,
    )


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the end of a job that five attempts brought no further."""
    message = f"Five attempts in a row made no new step. The last one said: {why}"
    return [failed(claim.control, claim.fence, "attempts_exhausted", message[:2000])]


def success(
    control: Control,
    attempt: int,
    plan: Plan,
    suffix: str | None,
    models: Sequence[tuple[Checkpoint, Manifest, StepMetrics]],
    results: Mapping[str, BlobRef],
    trained_tokens: int,
    prompt_sha256: str,
) -> list[Event]:
    """Return the final events in order: result files, checkpoints, the model, and the end of the job.

    `results` are the bytes of the result files by name.
    """
    job = control.subject
    files = result_ids(job)
    events = []
    for filename, key, format in ((CSV, ("result",), "csv"), (JSONL, ("result", "jsonl"), "jsonl")):
        uploaded = FileUploaded(blob=results[filename], filename=filename, purpose=PURPOSE, format=format)
        events.append(make(uploaded, subject=files[filename], tenant=control.tenant, id=derived_id(job, *key)))
    registered = [_registered(control, plan, suffix, *each) for each in models]
    if not registered:
        raise ValueError("a job cannot succeed without a model")
    ending = JobSucceeded(
        fine_tuned_model=registered[-1].subject,
        manifest=models[-1][0].manifest,
        result_files=tuple(files.values()),
        trained_tokens=trained_tokens,
        step=plan.total_steps,
        prompt_sha256=prompt_sha256,
    )
    id, epoch = derived_id(job, "end"), control.epoch
    end = make(ending, subject=job, tenant=control.tenant, id=id, epoch=epoch, attempt=attempt)
    return [*events, *registered, end]


def _registered(
    control: Control, plan: Plan, suffix: str | None, checkpoint: Checkpoint, found: Manifest, metrics: StepMetrics
) -> Event:
    data = ModelRegistered(
        kind=found.kind,
        manifest=checkpoint.manifest,
        base=plan.base,
        base_name=plan.base_name,
        template_sha256=plan.template_sha256,
        context=plan.context,
        owned_by=control.tenant,
        job=control.subject,
        step=checkpoint.step,
        metrics=metrics,
    )
    name, id = model_name(plan, control, suffix, checkpoint.step), derived_id(control.subject, "model", checkpoint.step)
    return make(data, subject=name, tenant=control.tenant, id=id)


def _delayed(control: Control, attempt: int, code: str, message: str) -> Event:
    return _event(JobDelayed(code=code, message=message[:2000]), control, attempt, code)


def _event(data: Any, control: Control, attempt: int, *key: str | int) -> Event:
    return make(
        data,
        subject=control.subject,
        tenant=control.tenant,
        id=derived_id(control.subject, *key, control.epoch, attempt),
        epoch=control.epoch,
        attempt=attempt,
    )
