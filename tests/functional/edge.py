"""An edge whose read models, control documents and requests are dictionaries: the folds are the real ones."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uuid_utils

from contracts.blobs import BlobRef
from contracts.documents import READ_MODELS, Stored, fold, touched
from contracts.documents.models import PUBLIC
from contracts.envelope import Event, derived_id, make
from contracts.events import Payload
from contracts.events.jobs import Histogram, Plan, StepMetrics, Tuning
from contracts.events.keys import KeyCreated, KeyRevoked
from contracts.events.models import ModelRegistered
from contracts.manifest import ManifestRef
from contracts.ports import Reservation
from functions.edge.app import create_app
from functions.edge.auth import encode_key, key_hash
from functions.edge.context import EdgeDeps
from infra.adapters.memory.stores import MemoryBlobs, MemoryEmit
from tests.controls import MemoryControls

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


def matches(view: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    """Whether a view meets a MongoDB filter, of which this knows the operators that the edge uses."""
    for name, wanted in where.items():
        if name == "$and":
            if not all(matches(view, each) for each in wanted):
                return False
        elif name == "$or":
            if not any(matches(view, each) for each in wanted):
                return False
        elif not _meets(_at(view, name), wanted):
            return False
    return True


def _at(view: Any, path: str) -> Any:
    for name in path.split("."):
        view = view.get(name) if isinstance(view, Mapping) else None
    return view


def _meets(value: Any, wanted: Any) -> bool:
    if not (isinstance(wanted, Mapping) and any(name.startswith("$") for name in wanted)):
        return bool(value == wanted) or (isinstance(value, list) and wanted in value)
    for operator, other in wanted.items():
        if operator == "$ne":
            met = value != other
        elif operator == "$in":
            met = value in other
        elif value is None:
            met = False
        else:
            met = {"$lt": value < other, "$lte": value <= other, "$gt": value > other, "$gte": value >= other}[operator]
        if not met:
            return False
    return True


class DictDocuments:
    """The Documents port."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, Stored]] = {name: {} for name in READ_MODELS}
        self.down: Exception | None = None

    async def apply(self, event: Event, *models: str) -> None:
        self._answer()
        for model, id in touched(event):
            if not models or model.name in models:
                collection = self.stored[model.name]
                collection[id] = fold(model, id, collection.get(id), event) or collection[id]

    async def get(self, model: str, id: str) -> dict[str, Any] | None:
        self._answer()
        found = self.stored[model].get(id)
        return found.view if found else None

    async def find(
        self, model: str, where: Mapping[str, Any], sort: Sequence[tuple[str, int]] = (), limit: int = 0
    ) -> list[dict[str, Any]]:
        self._answer()
        found = [each.view for each in self.stored[model].values() if each.view and matches(each.view, where)]
        for name, order in reversed(sort):
            found.sort(key=lambda view: view[name] if view[name] is not None else -1, reverse=order < 0)
        return found[:limit] if limit else found

    async def each(self, model: str, where: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        for view in await self.find(model, where):
            yield view

    async def count(self, model: str, where: Mapping[str, Any]) -> int:
        return len(await self.find(model, where))

    async def total(self, model: str, field: str, where: Mapping[str, Any]) -> int:
        return sum(_at(view, field) or 0 for view in await self.find(model, where))

    def _answer(self) -> None:
        if self.down is not None:
            raise self.down


class DictSecrets:
    """The Secrets port."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    async def put(self, tenant: str, name: str, value: str) -> None:
        self.kept[tenant, name] = value

    async def get(self, tenant: str, name: str) -> str | None:
        return self.kept.get((tenant, name))

    async def drop(self, tenant: str, name: str) -> None:
        self.kept.pop((tenant, name), None)


class DictRequests:
    """The Requests port."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []

    async def reserve(
        self, tenant: str, route: str, key: str | None, body_sha256: str, retry: bool, new_id: str
    ) -> Reservation:
        mine = [
            each for each in self.made if each["tenant"] == tenant and each["route"] == route and each["key"] == key
        ]
        if key is not None and mine:
            return Reservation(mine[0]["id"], "adopted" if mine[0]["body"] == body_sha256 else "mismatch")
        open_ones = [each for each in mine if each["body"] == body_sha256 and not each["completed"]]
        if key is None and retry and open_ones:
            return Reservation(open_ones[-1]["id"], "adopted")
        self.made.append(
            {"tenant": tenant, "route": route, "key": key, "body": body_sha256, "id": new_id, "completed": False}
        )
        return Reservation(new_id, "new")

    async def complete(self, reservation: Reservation) -> None:
        for each in self.made:
            if each["id"] == reservation.id:
                each["completed"] = True


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
    documents: DictDocuments = field(default_factory=DictDocuments)
    controls: MemoryControls = field(default_factory=MemoryControls)
    requests: DictRequests = field(default_factory=DictRequests)
    secrets: DictSecrets = field(default_factory=DictSecrets)
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

    async def key(self, tenant: str, number: int = 0, kind: Any = "api") -> str:
        """Create a key of `tenant`."""
        key = encode_key(number.to_bytes(2, "big") + tenant.encode().ljust(19, b"."))
        await self.say(KeyCreated(sha256=key_hash(key), hint=key[-4:], kind=kind), f"key-{number}", tenant)
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
    world.documents.down = error
    try:
        yield
    finally:
        world.documents.down = None
