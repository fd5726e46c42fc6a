"""P5: what is asked every second reads an index, and what has ended is no more than what it said."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.read_concern import ReadConcern

from contracts.blobs import BlobRef
from contracts.controls import Checkpoint
from contracts.documents.models import PUBLIC, model_id
from contracts.envelope import Event, derived_id, make
from contracts.events.corpus import ZipUploaded
from contracts.events.files import FileUploaded
from contracts.events.jobs import JobCreated, JobFailed
from contracts.manifest import ManifestRef
from infra.adapters.mongo.controls import MongoControls, ensure_indexes
from infra.adapters.mongo.documents import Database, MongoDocuments
from infra.adapters.mongo.idempotency import MongoRequests
from infra.runtime.reconciler import Reconciler
from infra.runtime.world import now_ms

pytestmark = [pytest.mark.connected, pytest.mark.usefixtures("whole")]
BLOB = BlobRef(key="local/file-1/content", sha256="0" * 64, bytes=1)


def ending(job: str) -> list[Event]:
    return [make(JobFailed(code="x", message="m"), subject=job, tenant="local", id=derived_id(job, "end"))]


async def ended(controls: MongoControls, job: str) -> None:
    await controls.open(job, "local", "train", {"n": "x" * 1000})
    await controls.desire(job, "run", "r")
    claim = await controls.claim("train", "h")
    assert claim is not None
    await controls.record(claim, "n", 1)
    await controls.end(job, ending(job), claim)


async def stored(db: Database, job: str) -> dict[str, Any]:
    found = await db.controls.find_one({"_id": job})
    assert found is not None
    return found


async def test_of_what_has_ended_and_was_said_only_that_stays(db: Database) -> None:
    controls = MongoControls(db)
    await ended(controls, "ftjob-1")
    assert await controls.unpublished(-60) == ["ftjob-1"]
    assert json.loads((await stored(db, "ftjob-1"))["inputs"])
    await controls.published("ftjob-1", 1)
    left = await stored(db, "ftjob-1")
    assert (left["inputs"], left["recorded"], left["requests"], len(left["events"])) == ("{}", [], [], 1)
    assert await controls.unpublished(-60) == []
    again = await controls.open("ftjob-1", "local", "train", {"n": 1})  # it has no second life
    assert again.ended
    assert await controls.claim("train", "h") is None
    assert (await controls.end("ftjob-1", [])).events[0].id == derived_id("ftjob-1", "end")


async def test_a_control_document_of_before_is_known_to_owe_what_it_owes(db: Database) -> None:
    controls = MongoControls(db)
    for job in ("ftjob-1", "ftjob-2"):
        await ended(controls, job)
    await controls.published("ftjob-2", 1)
    await db.controls.update_many({}, {"$unset": {"owed": 1}})
    await ensure_indexes(db)
    assert await controls.unpublished(-60) == ["ftjob-1"]


async def test_the_newest_checkpoints_and_requests_are_kept(db: Database) -> None:
    controls = MongoControls(db)
    await controls.open("ftjob-1", "local", "train", {})
    claim = await controls.claim("train", "h")
    assert claim is not None
    ref = ManifestRef(key="local/ftjob-1/m", sha256="0" * 64)
    for step in range(1, 41):
        await controls.checkpoint(claim, Checkpoint(step=step, manifest=ref, epoch_end=step % 20 == 0, fence=1))
    for number in range(70):
        control = await controls.desire("ftjob-1", "run", f"r{number}")
        assert control is not None
        assert control.epoch == number + 2
    control = await controls.get("ftjob-1")
    assert control is not None
    assert [each.step for each in control.checkpoints if each.epoch_end] == [20, 40]
    assert [each.step for each in control.checkpoints if not each.epoch_end] == list(range(32, 40))
    assert len((await stored(db, "ftjob-1"))["requests"]) == 64
    repeated = await controls.desire("ftjob-1", "run", "r69")
    assert repeated is not None
    assert repeated.epoch == 71


async def test_nothing_that_is_asked_again_and_again_reads_a_whole_collection(db: Database) -> None:
    controls, documents, requests = MongoControls(db), MongoDocuments(db), MongoRequests(db)
    births: Sequence[tuple[Any, str]] = (
        (FileUploaded(blob=BLOB, filename="a", purpose="fine-tune"), "file"),
        (ZipUploaded(blob=BLOB, filename="a.zip", purpose="fine-tune"), "file-zip"),
        (JobCreated(model="base", training_file="file-1"), "ftjob"),
    )
    for number in range(20):
        await ended(controls, f"ftjob-ended-{number}")
    for number in range(20):
        await controls.open(f"ftjob-open-{number}", "local", "train", {})
        for data, name in births:
            subject = f"{name}-{number}"
            await documents.apply(make(data, subject=subject, tenant="local", id=derived_id(subject)))
    await db.controls.update_many({}, {"$set": {"touched_at": datetime.fromtimestamp(0, UTC)}})
    await db.command("profile", 2)
    said: list[Event] = []

    async def emit(event: Event) -> Event:
        said.append(event)
        return event

    async def look(_: Any) -> None:
        return None

    retakes = {"jobs": [look], "archives": [look], "benchmarks": [look]}
    await Reconciler(documents, controls, emit, lambda: now_ms() + 60_000, retakes).reconcile()
    assert len(said) == 20
    assert await controls.claimable() == {"train", "validate"}
    claim = await controls.claim("train", "h", per_tenant=2)
    assert claim is not None
    await controls.heartbeat(claim)
    await controls.release(claim)
    base = {"needs": model_id(PUBLIC, "base"), "waits": True}
    assert len([each async for each in documents.each("prep_jobs", base)]) == 20
    for key, retry in (("k", False), (None, False), (None, True)):
        await requests.complete(await requests.reserve("local", "jobs", key, "body", retry, f"id-{key}-{retry}"))
    await db.command("profile", 0)
    profile = db.get_collection("system.profile", read_concern=ReadConcern("local"))
    done = [each async for each in profile.find({"planSummary": {"$exists": True}})]
    asked = {each["ns"].removeprefix(f"{db.name}.").partition("@")[0] for each in done}
    assert asked >= {"controls", "requests", "files", "jobs", "archives", "prep_jobs"}
    assert [each["command"] for each in done if "COLLSCAN" in each["planSummary"]] == []
    most = max(each.get("docsExamined", 0) for each in done if each["ns"].endswith(".controls"))
    assert most <= 41  # what is open; what has ended and is said is not looked at
