"""Trains one job under a lease: materialise, announce, run the child, store what it makes, prove, conclude."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from contracts.blobs import BlobRef
from contracts.cancellation import heed_cancellation
from contracts.canonical import compact, sha256
from contracts.controls import Checkpoint, Control
from contracts.envelope import Event
from contracts.events.jobs import Plan, StepMetrics
from contracts.manifest import ManifestFile, ManifestRef
from contracts.ports import (
    BlobMismatchError,
    BlobNotFoundError,
    Blobs,
    Child,
    ChildFailedError,
    Documents,
    Emit,
    Lease,
    LostLeaseError,
    ProofFailedError,
    Prove,
    UnavailableError,
)
from contracts.results import CSV, JSONL, as_csv, as_jsonl, result_ids
from functions._shared.model_files import ModelFiles, read_manifest
from functions._shared.stage import scratch_of
from functions.train_model import outcome
from functions.train_model.kept_checkpoints import kept
from functions.train_model.pruning import discard, known, prove_readable, prune

log = logging.getLogger("temper.train")

RECIPE = "functions.train_model.recipe"
METRICS = "metrics.jsonl"
FLUSH_SECONDS = 1.0
Result = TypeVar("Result")


class ChildDiedError(ChildFailedError):
    """The training process ended before its time; the next attempt goes on from the newest checkpoint."""


@dataclass(frozen=True, slots=True)
class Device:
    """How this trainer trains."""

    name: str = "auto"
    threads: int = 0
    deterministic: bool = False
    dtype: str = "auto"


@dataclass
class TrainingAttempt:
    """One attempt at one job."""

    lease: Lease
    blobs: Blobs
    emit: Emit
    documents: Documents
    plan: Plan
    folder: Path
    metrics: list[StepMetrics] = field(default_factory=list)
    """Of every step so far, earlier attempts' included."""

    @property
    def control(self) -> Control:
        """The control document as of the last heartbeat."""
        return self.lease.control

    @property
    def attempt(self) -> int:
        """The fence of this claim."""
        return self.lease.claim.fence


async def work(
    lease: Lease,
    blobs: Blobs,
    child: Child,
    emit: Emit,
    documents: Documents,
    prove: Prove,
    scratch: Path,
    cache: Path,
    device: Device,
) -> Sequence[Event]:
    """Return the final events of the job, or none when it rests; what it waits for stands in the job's `delay`."""
    plan = Plan.model_validate(lease.control.inputs["plan"])
    async with scratch_of(lease, scratch) as folder:
        run = TrainingAttempt(lease, blobs, emit, documents, plan, folder)
        try:
            checkpoint, resume = await _resume(run)
            from_step = checkpoint.step if checkpoint else 0
            if from_step < plan.total_steps:
                async with ModelFiles(blobs, cache).hold(plan.base) as base:
                    await _fetch_tokens(run)
                    await emit(outcome.started(lease.claim.control, run.attempt, plan, from_step, device.name))
                    _write_plan(run, base, resume, device)
                    ending = await _train(run, child)
                if ending is not None:
                    return ending
            return await _conclude(run, prove)
        except UnavailableError as error:
            await _delay(run, outcome.waiting(lease.claim.control, run.attempt, error.dependency))
            raise
        except ChildDiedError as error:
            await _delay(run, outcome.interrupted(lease.claim.control, run.attempt, str(error)))
            raise


async def _delay(run: TrainingAttempt, event: Event) -> None:
    """Say what keeps the job, unless that is what it shows already."""
    data = event.data.model_dump()
    with suppress(UnavailableError):  # readiness shows what is away
        job = await run.documents.get("jobs", event.subject)
        if not (job and job["delay"] and job["delay"]["code"] == data["code"]):
            await run.documents.apply(await run.emit(event))


async def _resume(run: TrainingAttempt) -> tuple[Checkpoint | None, Path | None]:
    """Fetch the newest checkpoint whose every byte is right, else the one before it."""
    last = run.plan.total_steps
    for checkpoint in await known(run.control, run.documents):
        target = run.folder / f"resume-{checkpoint.step}"
        try:
            manifest = await read_manifest(run.blobs, checkpoint.manifest)
            for file in manifest.files:
                if checkpoint.step < last or _concludes(file, run.control):
                    await _fetch(run.blobs, file, target / file.path)
            run.metrics = _read_metrics(target / METRICS)
            if checkpoint not in run.control.checkpoints:
                await run.lease.checkpoint(checkpoint)
            return checkpoint, target
        except (BlobNotFoundError, BlobMismatchError):
            await run.lease.drop_checkpoint(checkpoint.step)
            shutil.rmtree(target, ignore_errors=True)
    return None, None


def _concludes(file: ManifestFile, control: Control) -> bool:
    """Whether a job whose steps are all made needs a file: its metrics, and once a look at what serving will load."""
    return file.path == METRICS or (file.role != "resume" and not control.waits)


async def _fetch(blobs: Blobs, file: ManifestFile, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    await blobs.fetch(BlobRef(key=file.key, sha256=file.sha256, bytes=file.bytes), path)


def _read_metrics(path: Path) -> list[StepMetrics]:
    return [StepMetrics.model_validate_json(line) for line in path.read_text().splitlines()]


async def _fetch_tokens(run: TrainingAttempt) -> None:
    await run.blobs.fetch(run.plan.train, run.folder / "train.safetensors")
    if run.plan.valid is not None:
        await run.blobs.fetch(run.plan.valid, run.folder / "valid.safetensors")


def _write_plan(run: TrainingAttempt, base: Path, resume: Path | None, device: Device) -> None:
    plan = run.plan
    (run.folder / "plan.json").write_text(
        json.dumps(
            {
                "version": 1,
                "job": run.control.subject,
                "model_dir": str(base),
                "train": str(run.folder / "train.safetensors"),
                "valid": str(run.folder / "valid.safetensors") if plan.valid else None,
                "output_dir": str(run.folder / "out"),
                "resume_dir": str(resume) if resume else None,
                "method": {**plan.tuning.model_dump(), "target_modules": "all-linear"},
                "n_epochs": plan.n_epochs,
                "batch_size": plan.batch_size,
                "learning_rate": plan.learning_rate,
                "schedule": "linear",
                "warmup_steps": plan.warmup_steps,
                "weight_decay": 0.0,
                "max_grad_norm": 1.0,
                "seed": plan.seed,
                "checkpoint_every": plan.checkpoint_every,
                "eval_every": 0,
                "device": device.name,
                "dtype": device.dtype,
                "threads": device.threads,
                "deterministic": device.deterministic,
            }
        )
    )


async def _train(run: TrainingAttempt, child: Child) -> Sequence[Event] | None:
    """Run the child; returns final events (failed), none (the job rests), or None when all steps are made."""
    process = child.start(RECIPE, run.folder / "plan.json")
    speaker = asyncio.create_task(_pass_on_wishes(run, process))
    try:
        return await _listen(run, process)
    finally:
        speaker.cancel()
        await asyncio.gather(speaker, return_exceptions=True)
        await process.stop()


async def _pass_on_wishes(run: TrainingAttempt, process: Any) -> None:
    # Whatever changed (pause, or a pause that was taken back), a checkpoint is saved and the lease is given back.
    await run.lease.changed()
    await process.say("pause")


async def _listen(run: TrainingAttempt, process: Any) -> Sequence[Event] | None:
    waiting: list[StepMetrics] = []
    loop = asyncio.get_running_loop()
    began, before = loop.time(), (run.metrics[-1].elapsed or 0.0) if run.metrics else 0.0
    async for message in _with_pauses(process.lines()):
        if message is None or len(waiting) >= outcome.MAX_STEPS_PER_EVENT:
            with suppress(UnavailableError):  # said later; training goes on meanwhile
                await _say(run, waiting)
        if message is None:
            continue
        match message["type"]:
            case "progressed":
                elapsed = round(before + loop.time() - began, 3)
                step = StepMetrics.model_validate({**message, "elapsed": elapsed})
                waiting.append(step)
                run.metrics.append(step)
            case "checkpointed":
                await _keep(run, message, waiting)
            case "paused":
                control = run.lease.control
                if control.desired == "pause":
                    await run.emit(outcome.paused(control, message["step"]))
                return ()
            case "failed":
                with suppress(UnavailableError):
                    await _say(run, waiting)
                return [outcome.failed(run.control, run.attempt, message["code"], message["message"])]
            case "crashed":
                raise ChildDiedError(message["message"])
            case "finished":
                return None
    code = await process.stop()
    log.error("%s: the training process ended with status %d: %s", run.control.subject, code, process.stderr())
    raise ChildDiedError(f"the training process ended with status {code}")


async def _with_pauses(lines: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any] | None]:
    """Yield the child's lines, and None about every second, so that metrics never lie unsaid for long."""
    source = lines.__aiter__()
    pending: asyncio.Task[dict[str, Any]] | None = None
    loop = asyncio.get_running_loop()
    due = loop.time() + FLUSH_SECONDS
    try:
        while True:
            pending = pending or asyncio.ensure_future(_next(source))
            done, _ = await asyncio.wait({pending}, timeout=max(0.0, due - loop.time()))
            if loop.time() >= due:
                due = loop.time() + FLUSH_SECONDS
                yield None
            heed_cancellation()  # whoever lost the lease trains no further
            if done:
                finished, pending = pending, None
                try:
                    yield finished.result()
                except StopAsyncIteration:
                    return
    finally:
        if pending is not None:
            pending.cancel()


async def _next(source: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    return await source.__anext__()


async def _say(run: TrainingAttempt, waiting: list[StepMetrics]) -> None:
    """Say the waiting metrics, and take from them what Kafka has acknowledged."""
    while batch := waiting[: outcome.MAX_STEPS_PER_EVENT]:
        await run.emit(outcome.progressed(run.lease.claim.control, run.attempt, run.plan, batch))
        del waiting[: len(batch)]


async def _patiently(do: Callable[[], Awaitable[Result]]) -> Result:
    """Repeat until the stores answer; the child computes on, and a lost lease cancels all of this."""
    while True:
        try:
            return await do()
        except UnavailableError:
            await asyncio.sleep(1.0)


async def _keep(run: TrainingAttempt, message: dict[str, Any], waiting: list[StepMetrics]) -> None:
    """Store a checkpoint, make it visible, say so, let older ones go: blobs, control document, events, blobs.

    Whatever dies in between, the checkpoints that the control document names are there.
    """
    checkpoint = await _patiently(partial(_store, run, message))
    await _patiently(partial(prove_readable, run.blobs, checkpoint.manifest))
    try:
        await _patiently(partial(run.lease.checkpoint, checkpoint))
    except LostLeaseError:
        await discard(run.control, checkpoint, run.blobs, run.documents)
        raise
    await _patiently(partial(_say, run, waiting))
    metrics = next(each for each in reversed(run.metrics) if each.step <= checkpoint.step)
    said = outcome.checkpointed(run.lease.claim.control, checkpoint, metrics)
    await _patiently(partial(run.emit, said))
    shutil.rmtree(message["dir"], ignore_errors=True)
    with suppress(UnavailableError):  # the next one sees to it, or the end of the job
        await prune(await run.lease.refresh(), run.attempt, run.blobs)


async def _store(run: TrainingAttempt, message: dict[str, Any]) -> Checkpoint:
    """Store a checkpoint's files and its manifest."""
    step, folder = message["step"], Path(message["dir"])
    prefix = outcome.checkpoint_prefix(run.control, run.attempt, step)
    for file in message["files"]:
        ref = await run.blobs.store(prefix + file["path"], folder / file["path"])
        if ref.sha256 != file["sha256"]:
            raise BlobMismatchError(f"{file['path']} changed between the child and the store")
    lines = b"".join(compact(each.model_dump(mode="json")) + b"\n" for each in run.metrics if each.step <= step)
    metrics = await run.blobs.put(prefix + METRICS, lines, "application/jsonl")
    files = [
        *message["files"],
        {"path": METRICS, "sha256": metrics.sha256, "bytes": metrics.bytes, "role": "resume"},
    ]
    manifest = outcome.manifest_of(run.plan, step, prefix, files)
    stored = await run.blobs.put(prefix + "manifest.json", manifest.encoded(), "application/json")
    made = ManifestRef(key=stored.key, sha256=stored.sha256)
    return Checkpoint(step=step, manifest=made, epoch_end=message["epoch_end"], fence=run.attempt)


async def _conclude(run: TrainingAttempt, prove: Prove) -> Sequence[Event]:
    """Prove every model that is kept, then return the events of success; a model that is wrong fails the job."""
    control = await run.lease.refresh()
    probe = json.loads(await run.blobs.get(run.plan.probe.key))
    models = []
    for checkpoint in kept(control.checkpoints, run.plan.total_steps):
        try:
            proof = await prove(checkpoint.manifest, probe["messages"], probe.get("tools"), probe["prompt_ids"])
        except ProofFailedError as error:
            message = f"The model of step {checkpoint.step} was refused by the serving process: {error}"
            return [outcome.failed(control, run.attempt, error.code, message)]
        manifest = await read_manifest(run.blobs, checkpoint.manifest)
        metrics = next(step for step in run.metrics if step.step == checkpoint.step)
        models.append((checkpoint, manifest, metrics))
    plan = run.plan
    length = plan.context_length or plan.context
    contents = {
        CSV: (as_csv(run.metrics), "text/csv"),
        JSONL: (as_jsonl(run.metrics, plan.n_epochs, plan.total_steps, length), "application/jsonl"),
    }
    results = {
        name: await run.blobs.put(f"{control.tenant}/{id}/content", *contents[name])
        for name, id in result_ids(control.subject).items()
    }
    return outcome.success(
        control,
        run.attempt,
        run.plan,
        control.inputs["created"]["suffix"],
        models,
        results,
        run.metrics[-1].tokens or 0,
        sha256(compact(list(proof.prompt_ids))),
    )
