"""An edge whose read models, control documents and requests are dictionaries: the folds are the real ones."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, patch

import httpx
import uuid_utils

from contracts.blobs import BlobRef
from contracts.documents.models import PUBLIC
from contracts.envelope import Event, derived_id, make
from contracts.events import Payload
from contracts.events.jobs import Histogram, Plan, StepMetrics, Tuning
from contracts.events.keys import KeyCreated, KeyRevoked
from contracts.events.models import ModelRegistered
from contracts.manifest import ManifestRef
from functions._shared.grading.code import Coders
from functions.edge.app import create_app
from functions.edge.auth import encode_key, key_hash
from functions.edge.context import EdgeDeps
from infra.adapters.memory import (
    MemoryBlobs,
    MemoryControls,
    MemoryDocuments,
    MemoryEmit,
    MemoryRequests,
    MemorySecrets,
)
from infra.children.child import ProcessChild

BASE = "temper-demo-1m"
REF = ManifestRef(key="public/base/manifest.json", sha256="0" * 64)
ROWS = b"".join(
    json.dumps({"messages": [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": "a"}]}).encode()
    + b"\n"
    for i in range(10)
)


def new_id() -> str:
    """A UUIDv7."""
    return str(uuid_utils.uuid7())


class CannedReply:
    """An answer of the serving process, chunk by chunk."""

    def __init__(self, status: int, headers: Mapping[str, str], chunks: AsyncIterator[bytes]) -> None:
        self.status = status
        self.headers = headers
        self._chunks = chunks
        self.closed = False

    def chunks(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def close(self) -> None:
        self.closed = True


@dataclass
class World:
    """An edge and what it stands on."""

    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    emit: MemoryEmit = field(default_factory=MemoryEmit)
    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    controls: MemoryControls = field(default_factory=MemoryControls)
    requests: MemoryRequests = field(default_factory=MemoryRequests)
    secrets: MemorySecrets = field(default_factory=MemorySecrets)
    complete: Any = None
    probes: dict[str, Any] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.deps = EdgeDeps(
            blobs=self.blobs,
            emit=self._emit,
            documents=self.documents,
            controls=self.controls,
            requests=self.requests,
            secrets=self.secrets,
            wandb="online",
            complete=self._complete,
            new_id=new_id,
            coders=Coders(ProcessChild(), Path(tempfile.mkdtemp(prefix="temper-edge-"))),
            probes=self.probes,
            others=self.others,
        )
        self.app = create_app(self.deps)
        self.kafka_down: Exception | None = None

    async def _emit(self, event: Event) -> Event:
        if self.kafka_down is not None:
            raise self.kafka_down
        return await self.emit(event)

    async def _complete(self, path: str, body: bytes, manifest: ManifestRef, request_id: str, tenant: str) -> Any:
        return await self.complete(path, body, manifest, request_id, tenant)

    async def say(self, data: Payload, subject: str, tenant: str, **extra: Any) -> Event:
        """Publish an event as somebody else would."""
        event = make(data, subject=subject, tenant=tenant, **{"id": new_id(), **extra})
        event = await self.emit(event)
        await self.documents.apply(event)
        return event

    async def key(self, tenant: str, number: int = 0, kind: Any = "api", **said: Any) -> str:
        """Create a key of `tenant`."""
        key = encode_key(number.to_bytes(2, "big") + tenant.encode().ljust(19, b"."))
        await self.say(KeyCreated(sha256=key_hash(key), hint=key[-4:], kind=kind, **said), f"key-{number}", tenant)
        return key

    async def revoke(self, key: str, tenant: str) -> None:
        """Revoke a key."""
        await self.say(KeyRevoked(sha256=key_hash(key)), "key-0", tenant)

    async def base(self, name: str = BASE) -> None:
        """Register a base model."""
        data = ModelRegistered(kind="base", manifest=REF, template_sha256="1" * 64, context=512, owned_by="temper")
        await self.say(data, name, PUBLIC)

    async def tuned(self, job: str, name: str, step: int, tenant: str = "local", at: tuple[int, int] = (1, 1)) -> None:
        """Register a tuned model or checkpoint of a job."""
        data = ModelRegistered(
            kind="adapter",
            manifest=ManifestRef(key=f"{tenant}/{job}/manifest.json", sha256="2" * 64),
            base=REF,
            base_name=BASE,
            template_sha256="1" * 64,
            context=512,
            owned_by=tenant,
            job=job,
            step=step,
            metrics=metrics(step),
        )
        await self.say(data, name, tenant, id=derived_id(job, name), epoch=at[0], attempt=at[1])

    def client(self, key: str, **headers: str) -> httpx.AsyncClient:
        """An HTTP client of this edge."""
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url="http://edge",
            headers={"authorization": f"Bearer {key}", **headers},
        )

    def topics(self) -> list[str]:
        """The topics of what was published, without keys and base models."""
        return [event.type for event in self.emit.events if event.type not in ("key.created", "model.registered")]


def metrics(step: int) -> StepMetrics:
    """Metrics after a step."""
    return StepMetrics(step=step, train_loss=1.0 / step, train_mean_token_accuracy=0.5)


def plan(total_steps: int = 30, seconds: float = 60.0) -> Plan:
    """A plan such as preparation makes."""
    blob = BlobRef(key="local/ftjob-1/tokens", sha256="3" * 64, bytes=1)
    return Plan(
        base=REF,
        base_name=BASE,
        train=blob,
        probe=blob,
        template_sha256="1" * 64,
        context=512,
        rows=10,
        tokens=100,
        label_tokens=50,
        longest_row=12,
        histogram=Histogram(edges=(0, 16), counts=(10,)),
        n_epochs=3,
        batch_size=1,
        learning_rate_multiplier=1.0,
        learning_rate=0.01,
        total_steps=total_steps,
        warmup_steps=3,
        checkpoint_every=10,
        seed=7,
        tuning=Tuning(),
        reasons={"n_epochs": "few rows"},
        memory_bytes=10**8,
        seconds=seconds,
    )


@contextmanager
def raised(world: World, error: Exception) -> Iterator[None]:
    """Let the read models be away."""
    away = AsyncMock(side_effect=error)
    with patch.multiple(world.documents, apply=away, get=away, find=away, count=away, total=away):
        yield
