"""A job to train, its stores in memory, and a training process that says what the test wants."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.blobs import BlobRef
from contracts.controls import Claim
from contracts.envelope import Event, derived_id, make
from contracts.events import Payload
from contracts.events.jobs import JobCreated, JobQueued, Plan
from contracts.manifest import Manifest, ManifestFile, ManifestRef
from contracts.ports import Proof, UnavailableError
from functions.train_model.work import Device, work
from infra.adapters.memory import MemoryBlobs, MemoryControls, MemoryDocuments, MemoryEmit
from infra.runtime.leases import HeldLease
from tests.functional.edge import plan

JOB = "ftjob-1"
STEPS = 4
Deed = Callable[[], Awaitable[None]]


def progressed(step: int) -> dict[str, Any]:
    """What the recipe says after a step."""
    return {
        "type": "progressed",
        "step": step,
        "train_loss": 1.0 / step,
        "train_mean_token_accuracy": 0.5,
        "tokens": step,
    }


class Scripted:
    """The Child port and its process: `script` is what it says, and what happens meanwhile."""

    def __init__(self, script: Sequence[dict[str, Any] | Deed]) -> None:
        self.script, self.plan, self.said, self.stopped = list(script), dict[str, Any](), list[str](), False

    def start(self, _module: str, argument: Path) -> Scripted:
        self.plan = json.loads(argument.read_text())
        return self

    async def lines(self) -> AsyncIterator[dict[str, Any]]:
        for each in self.script:
            if callable(each):
                await each()
            elif each["type"] == "checkpointed":
                yield self._written(each)
            else:
                yield each

    def _written(self, message: Mapping[str, Any]) -> dict[str, Any]:
        folder, step = Path(self.plan["output_dir"]) / f"step-{message['step']}", message["step"]
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for name, role in (("adapter_model.safetensors", "weights"), ("resume.safetensors", "resume")):
            content = f"{name} of step {step}".encode()
            (folder / name).write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            files.append({"path": name, "sha256": digest, "bytes": len(content), "role": role})
        return {**message, "dir": str(folder), "files": files, "epoch_end": message.get("epoch_end", step == STEPS)}

    async def say(self, line: str) -> None:
        self.said.append(line)

    async def stop(self) -> int:
        self.stopped = True
        return -9

    def stderr(self) -> str:
        return "Traceback of this machine"


class CountingBlobs(MemoryBlobs):
    """Blobs of which it is counted which were fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    async def fetch(self, ref: BlobRef, path: Path) -> None:
        self.fetched.append(path.name)
        await super().fetch(ref, path)


class Flaky(MemoryEmit):
    """An Emit whose Kafka is away for some topics, for so many times each."""

    def __init__(self) -> None:
        super().__init__()
        self.away: dict[str, int] = {}

    async def __call__(self, event: Event) -> Event:
        if self.away.get(event.type, 0) > 0:
            self.away[event.type] -= 1
            raise UnavailableError("kafka")
        return await super().__call__(event)


@dataclass
class Setting:
    """What the trainer stands on."""

    folder: Path
    blobs: CountingBlobs = field(default_factory=CountingBlobs)
    emit: Flaky = field(default_factory=Flaky)
    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    controls: MemoryControls = field(default_factory=MemoryControls)
    proves: list[Exception | None] = field(default_factory=list)
    """What happens to each proof; all after these succeed."""
    proved: list[tuple[Any, ...]] = field(default_factory=list)
    """What each proof was asked for."""
    plan: Plan = field(default_factory=lambda: plan(STEPS))

    async def ready(self) -> Setting:
        """Store the base, the tokens and the probe, and open the job."""
        weights = await self.blobs.put("public/base/model.safetensors", b"base")
        files = (
            ManifestFile(path="model.safetensors", key=weights.key, sha256=weights.sha256, bytes=4, role="weights"),
        )
        base = Manifest(kind="base", files=files, template_sha256="1" * 64, context=512)
        stored = await self.blobs.put("public/base/manifest.json", base.encoded())
        probe = {"messages": [{"role": "user", "content": "q"}], "prompt_ids": [1, 2]}
        self.plan = self.plan.model_copy(
            update={
                "base": ManifestRef(key=stored.key, sha256=stored.sha256),
                "train": await self.blobs.put(f"local/{JOB}/tokens", b"tokens"),
                "probe": await self.blobs.put(f"local/{JOB}/probe.json", json.dumps(probe).encode()),
            }
        )
        created = JobCreated(model=self.plan.base_name, training_file="file-1")
        await self.say(created, "created")
        await self.say(JobQueued(plan=self.plan), "queued")
        inputs = {"plan": self.plan.model_dump(mode="json"), "created": created.model_dump(mode="json")}
        await self.controls.open(JOB, "local", "train", inputs)
        return self

    async def say(self, data: Payload, name: str) -> None:
        """Publish an event of the job's."""
        event = await self.emit(make(data, subject=JOB, tenant="local", id=derived_id(JOB, name)))
        await self.documents.apply(event)

    async def claim(self) -> Claim:
        """Take the lease."""
        claim = await self.controls.claim("train", "host/1")
        assert claim is not None
        return claim

    async def attempt(self, *script: dict[str, Any] | Deed) -> Sequence[Event]:
        """One attempt with a process that says this; the lease is given back, as a runner would."""
        lease = HeldLease(self.controls, await self.claim())
        try:
            return await self.work(lease, Scripted(script))
        except UnavailableError as error:
            await self.controls.release(lease.claim, forgive=True, why=str(error))
            raise
        finally:
            if self.controls.controls[JOB].holder is not None:
                await self.controls.release(lease.claim)

    async def work(self, lease: HeldLease, child: Any) -> Sequence[Event]:
        """The trainer's work, with everything that it says applied."""

        async def emit(event: Event) -> Event:
            event = await self.emit(event)
            await self.documents.apply(event)
            return event

        async with asyncio.timeout(20):
            return await work(
                lease, self.blobs, child, emit, self.documents, self._prove, self.folder / "scratch",
                self.folder / "cache", Device("cpu"),
            )  # fmt: skip

    async def _prove(self, *asked: Any) -> Proof:
        self.proved.append(asked)
        if self.proves and (error := self.proves.pop(0)) is not None:
            raise error
        return Proof(prompt_ids=(1, 2), answer="yes")

    def of(self, topic: str) -> list[Any]:
        """The data of what was said under a topic."""
        return [event.data for event in self.emit.events if event.type == topic]

    async def delay(self) -> Any:
        """What the job shows that it waits for."""
        job = await self.documents.get("jobs", JOB)
        return job and job["delay"]


def whole(first: int = 1) -> list[dict[str, Any]]:
    """What a process says that makes all steps from `first` on, with a checkpoint after the second and the last."""
    said: list[dict[str, Any]] = [{"type": "started"}]
    for step in range(first, STEPS + 1):
        said.append(progressed(step))
        if step in (2, STEPS):
            said.append({"type": "checkpointed", "step": step})
    return [*said, {"type": "finished"}]
