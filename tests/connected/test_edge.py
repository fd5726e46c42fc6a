"""P1, P2: the edge on real Kafka, MongoDB and MinIO: one POST is one event, and lists are as MongoDB sorts them."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio

from contracts.documents import READ_MODELS, Stored
from contracts.envelope import Event, derived_id, make
from contracts.events import Payload
from contracts.events.jobs import JobCreated, JobProgressed, JobQueued, JobStarted
from contracts.events.keys import KeyCreated
from contracts.events.models import ModelRegistered
from contracts.manifest import ManifestRef
from contracts.ports import UnavailableError
from functions.edge.app import create_app
from functions.edge.auth import encode_key, key_hash
from functions.edge.context import EdgeDeps
from infra.adapters.kafka import KafkaEmit, ensure_topics
from infra.adapters.minio.blobs import MinioBlobs
from infra.adapters.mongo.controls import MongoControls, ensure_indexes
from infra.adapters.mongo.documents import Builds, Database, MongoDocuments, connect
from infra.adapters.mongo.idempotency import MongoRequests
from infra.adapters.mongo.secrets import MongoSecrets
from infra.runtime.world import new_id
from infra.settings import Settings
from tests.connected.log import KEY, Tap
from tests.connected.stores import minio_blobs
from tests.events import golden
from tests.functional.edge import ROWS, metrics, plan

pytestmark = pytest.mark.connected

JOBS = "/v1/fine_tuning/jobs"


@dataclass
class Edge:
    """An edge on the real stores, with a tenant of its own."""

    db: Database
    blobs: MinioBlobs
    emit: KafkaEmit
    tenant: str
    api: httpx.AsyncClient
    lost: set[str]
    """Topics whose events are published without the edge hearing of it."""

    async def say(self, data: Payload, subject: str, tenant: str = "", **extra: int) -> None:
        event = make(data, subject=subject, tenant=tenant or self.tenant, id=new_id(), **extra)  # type: ignore[arg-type]
        await MongoDocuments(self.db).apply(await self.emit(event))

    async def upload(self, content: bytes = ROWS, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.api.post(
            "/v1/files", files={"file": ("a.jsonl", content)}, data={"purpose": "fine-tune"}, headers=named
        )


@pytest_asyncio.fixture
async def edge(servers: Settings) -> AsyncIterator[Edge]:
    assert servers.kafka_bootstrap
    await ensure_topics(servers.kafka_bootstrap)
    db = connect(str(servers.mongo_url), f"test_{uuid.uuid4().hex[:12]}")
    builds = Builds(db)
    await builds.begin("g")
    await builds.complete("g", {})
    await ensure_indexes(db)
    emit, documents = KafkaEmit(servers.kafka_bootstrap, KEY), MongoDocuments(db)
    tenant, key, lost = f"t-{uuid.uuid4().hex[:8]}", encode_key(uuid.uuid4().bytes + b"....."), set[str]()

    async def published(event: Event) -> Event:
        said = await emit(event)
        if event.type in lost:
            raise UnavailableError("kafka", "the acknowledgement was lost")
        return said

    async def silent(*_: object) -> None:
        raise UnavailableError("serving")

    async with minio_blobs(servers) as blobs:
        ports = EdgeDeps(
            blobs=blobs,
            emit=published,
            documents=documents,
            controls=MongoControls(db),
            requests=MongoRequests(db),
            secrets=MongoSecrets(db, b"k" * 32),
            complete=silent,  # type: ignore[arg-type]
            new_id=new_id,
        )
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(ports)),
            base_url="http://edge",
            headers={"authorization": f"Bearer {key}"},
            timeout=60,
        ) as api:
            found = Edge(db, blobs, emit, tenant, api, lost)
            await found.say(KeyCreated(sha256=key_hash(key), hint=key[-4:]), f"key-{tenant}")
            manifest = ManifestRef(key="public/base/manifest", sha256="0" * 64)
            base = ModelRegistered(
                kind="base", manifest=manifest, template_sha256="1" * 64, context=512, owned_by="temper"
            )
            await found.say(base, "base-of-tests", "public")
            yield found
            for prefix in {key.rsplit("/", 1)[0] + "/" for key in await blobs.list(f"{tenant}/")}:
                await blobs.delete(prefix)
    await emit.stop()
    await db.client.drop_database(db.name)
    await db.client.close()


async def job(edge: Edge, file: str, headers: dict[str, str] | None = None, **body: object) -> httpx.Response:
    asked = {"model": "base-of-tests", "training_file": file, **body}
    return await edge.api.post(JOBS, json=asked, headers=headers)


async def test_what_is_acknowledged_is_in_kafka_and_in_the_next_read(edge: Edge, servers: Settings) -> None:
    tap = await Tap.open(str(servers.kafka_bootstrap), "file.uploaded", "job.created")
    file = (await edge.upload()).json()
    assert (await edge.api.get(f"/v1/files/{file['id']}")).json() == file
    assert (await edge.api.get(f"/v1/files/{file['id']}/content")).content == ROWS
    made = (await job(edge, file["id"], metadata={"a.b": "$x", "$y": "", "n": "1"})).json()
    assert made["metadata"] == {"a.b": "$x", "$y": "", "n": "1"}
    assert (await edge.api.get(f"{JOBS}/{made['id']}")).json() == made
    assert [each["id"] for each in (await edge.api.get(JOBS, params={"metadata[n]": "1"})).json()["data"]] == [
        made["id"]
    ]
    mine = [event for event in await tap.events() if event.tenant == edge.tenant]
    assert sorted((event.type, event.subject) for event in mine) == [
        ("file.uploaded", file["id"]),
        ("job.created", made["id"]),
    ]


async def test_fifty_at_once_with_one_key_are_one_object(edge: Edge, servers: Settings) -> None:
    tap = await Tap.open(str(servers.kafka_bootstrap), "file.uploaded", "job.created")
    files = await asyncio.gather(*(edge.upload(idempotency_key="k") for _ in range(50)))
    assert {reply.status_code for reply in files} == {200}
    ids = {reply.json()["id"] for reply in files}
    assert len(ids) == 1
    file = ids.pop()
    assert await edge.blobs.list(f"{edge.tenant}/") == [f"{edge.tenant}/{file}/content"]
    jobs = await asyncio.gather(*(job(edge, file, {"idempotency-key": "k"}) for _ in range(50)))
    assert len({reply.json()["id"] for reply in jobs}) == 1
    mine = {(event.type, event.id) for event in await tap.events() if event.tenant == edge.tenant}
    assert len(mine) == 2
    other = await job(edge, file, {"idempotency-key": "k"}, seed=9)
    assert (other.status_code, other.json()["error"]["code"]) == (400, "idempotency_key_reused")


async def test_a_lost_acknowledgement_and_a_marked_retry_are_one_event(edge: Edge, servers: Settings) -> None:
    tap = await Tap.open(str(servers.kafka_bootstrap), "file.uploaded", "job.created")
    edge.lost |= {"file.uploaded", "job.created"}
    lost = await edge.upload()
    assert (lost.status_code, lost.headers["retry-after"]) == (503, "2")
    edge.lost.clear()
    file = (await edge.upload(x_stainless_retry_count="1")).json()["id"]
    edge.lost |= {"job.created"}
    assert (await job(edge, file)).status_code == 503
    edge.lost.clear()
    made = (await job(edge, file, {"x-stainless-retry-count": "1"})).json()["id"]
    events = [event for event in await tap.events() if event.tenant == edge.tenant]
    assert len(events) == 4  # each was published twice …
    assert {(event.id, event.subject) for event in events} == {  # … and is one event
        (derived_id(file, "file.uploaded"), file),
        (derived_id(made, "job.created"), made),
    }
    assert len((await edge.api.get("/v1/files")).json()["data"]) == 1
    assert await edge.blobs.list(f"{edge.tenant}/") == [f"{edge.tenant}/{file}/content"]
    deliberate = (await job(edge, file)).json()["id"]
    assert deliberate != made


async def test_a_broken_upload_of_many_parts_leaves_nothing_in_the_store(edge: Edge) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n{'

    async def cut() -> AsyncIterator[bytes]:
        yield head
        for _ in range(20):
            yield b"x" * 2**20

    headers = {"content-type": "multipart/form-data; boundary=b"}
    reply = await edge.api.post("/v1/files", content=cut(), headers=headers)
    assert reply.json()["error"]["code"] == "invalid_multipart"
    assert await edge.blobs.list(f"{edge.tenant}/") == []
    assert (await edge.api.get("/v1/files")).json()["data"] == []


async def test_lists_and_events_are_what_the_folds_say(edge: Edge) -> None:
    file = (await edge.upload()).json()["id"]
    made = [(await job(edge, file)).json()["id"] for _ in range(3)]
    first = (await edge.api.get(f"{JOBS}?limit=2")).json()
    rest = (await edge.api.get(f"{JOBS}?limit=2&after={first['last_id']}")).json()
    assert [each["id"] for each in first["data"] + rest["data"]] == made[::-1]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert len((await edge.api.get(f"{JOBS}?metadata=null")).json()["data"]) == 3
    id = made[0]
    for attempt, from_step, last in ((1, 0, 8), (2, 5, 6)):
        started = JobStarted(from_step=from_step, total_steps=9, holder="h")
        await edge.say(started, id, epoch=1, attempt=attempt)
        steps = tuple(metrics(step) for step in range(from_step + 1, last + 1))
        await edge.say(JobProgressed(total_steps=9, steps=steps), id, epoch=1, attempt=attempt)
    events = (await edge.api.get(f"{JOBS}/{id}/events?limit=100")).json()["data"]
    assert [each["data"]["step"] for each in events if each["type"] == "metrics"] == [6, 5, 4, 3, 2, 1]
    after = next(each["id"] for each in events if each["type"] == "metrics")
    page = (await edge.api.get(f"{JOBS}/{id}/events?limit=2&after={after}")).json()
    assert page["data"] == events[events.index(page["data"][0]) :][:2]
    assert json.dumps(page).count('"step": 6') == 0


async def test_delete_and_cancel_race_and_end_in_one_state(edge: Edge) -> None:
    file = (await edge.upload()).json()["id"]
    made = (await job(edge, file)).json()["id"]
    used = await edge.api.delete(f"/v1/files/{file}")
    assert used.json()["error"]["code"] == "file_in_use"
    replies = await asyncio.gather(*(edge.api.post(f"{JOBS}/{made}/cancel") for _ in range(10)))
    assert {reply.status_code for reply in replies} <= {200, 400}
    assert (await edge.api.get(f"{JOBS}/{made}")).json()["status"] == "cancelled"
    control = await MongoControls(edge.db).get(made)
    assert control is not None
    assert (control.ended, [event.type for event in control.events], control.published) == (True, ["job.cancelled"], 1)
    assert (await edge.api.delete(f"/v1/files/{file}")).json()["deleted"]
    assert await edge.blobs.list(f"{edge.tenant}/") == []


async def test_read_models_that_are_not_whole_are_a_503(edge: Edge) -> None:
    await edge.db.meta.delete_many({})
    async with asyncio.timeout(5):
        while (reply := await edge.api.get("/v1/files")).status_code == 200:
            await asyncio.sleep(0.05)
    assert reply.status_code == 503
    assert "rebuilt" in reply.json()["error"]["message"]
    assert reply.headers["retry-after"] == "2"


LISTS = ("/v1/files", JOBS, "/v1/finetune-jobs", "/v1/models", "/v1/benchmarks")
OF_JOB = ("", "/events", "/metrics", "/results", "/checkpoints", "/benchmarks")


@pytest.mark.parametrize("number", [2**31, 2**53 - 1])
async def test_numbers_that_mongodb_holds_in_64_bits_are_served(edge: Edge, number: int) -> None:
    documents = MongoDocuments(edge.db)
    for name, model in golden.views()["models"].items():
        born = {id: view for id, view in model["views"].items() if view is not None and name != "keys"}
        large = {id: golden.enlarged(view, number) | {"tenant": edge.tenant} for id, view in born.items()}
        named = {id.replace("local/", f"{edge.tenant}/"): view for id, view in large.items()}
        await documents.put(READ_MODELS[name], {id: Stored({}, view, "") for id, view in named.items()})
    paths = [*LISTS]
    for name, path in (("files", "/v1/files/"), ("benchmarks", "/v1/benchmarks/")):
        paths += [path + view["id"] for view in await documents.find(name, {"deleted": {"$ne": True}})]
    jobs = await documents.find("jobs", {"deleted": {"$ne": True}})
    paths += [f"{JOBS}/{job['id']}{of_it}" for job in jobs for of_it in OF_JOB]
    paths += [f"/v1/finetune-jobs/{job['id']}{of_it}" for job in jobs for of_it in ("", "/events")]
    for path in paths:
        reply = await edge.api.get(path)
        assert reply.status_code == 200, (path, reply.text)
    await edge.say(JobCreated(model="base-of-tests", training_file="file-1"), "ftjob-large")
    await edge.say(JobQueued(plan=plan().model_copy(update={"memory_bytes": number, "tokens": number})), "ftjob-large")
    for reply in (await edge.api.get(f"{JOBS}/ftjob-large"), await edge.api.post(f"{JOBS}/ftjob-large/cancel")):
        assert (reply.status_code, reply.json()["temper"]["plan"]["memory_bytes"]) == (200, number)
