"""P2, P5: control documents on real MongoDB: leases, fences, outcomes."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from contracts.controls import Checkpoint
from contracts.envelope import PoisonError, derived_id, make
from contracts.events.jobs import JobCancelled, JobFailed
from contracts.manifest import ManifestRef
from contracts.ports import LostLeaseError, RebuildingError
from infra.adapters.mongo import Builds, Database, connect
from infra.adapters.mongo_controls import MongoControls, MongoRequests
from infra.settings import Settings

pytestmark = pytest.mark.connected


@pytest_asyncio.fixture
async def db(servers: Settings) -> AsyncIterator[Database]:
    database = connect(str(servers.mongo_url), f"test_{uuid.uuid4().hex[:12]}")
    builds = Builds(database)
    await builds.begin("g")
    await builds.complete("g", {})
    yield database
    await database.client.drop_database(database.name)
    await database.client.close()


def ending(job: str, code: str = "x"):
    return make(JobFailed(code=code, message="m"), subject=job, tenant="local", id=derived_id(job, "end"))


async def test_of_many_claims_one_wins_and_the_fence_grows(db: Database) -> None:
    controls = MongoControls(db)
    await controls.open("ftjob-1", "local", "train", {"a": {"b.c": "$x"}})
    claims = await asyncio.gather(*(controls.claim("train", f"h{n}") for n in range(20)))
    won = [claim for claim in claims if claim is not None]
    assert len(won) == 1
    assert won[0].fence == 1
    assert won[0].control.inputs == {"a": {"b.c": "$x"}}
    await controls.release(won[0])
    again = await controls.claim("train", "h")
    assert again is not None
    assert again.fence == 2
    with pytest.raises(LostLeaseError):
        await controls.heartbeat(won[0])


async def test_a_tenant_with_few_things_does_not_wait_for_one_with_many(db: Database) -> None:
    controls = MongoControls(db)
    for number in range(6):
        await controls.open(f"doc-many-{number}", "many", "read", {})
    for number in range(2):
        await controls.open(f"doc-few-{number}", "few", "read", {})
    claims = [await controls.claim("read", "h") for _ in range(9)]
    order = [claim.subject for claim in claims if claim]
    assert order[:4] == ["doc-many-0", "doc-few-0", "doc-many-1", "doc-few-1"]
    assert order[4:] == [f"doc-many-{number}" for number in range(2, 6)]
    assert claims[8] is None


async def test_a_tenant_never_holds_more_than_its_share_of_a_process(db: Database) -> None:
    controls = MongoControls(db)
    for number in range(5):
        await controls.open(f"doc-a-{number}", "a", "read", {})
    claims = await asyncio.gather(*(controls.claim("read", "h", per_tenant=2) for _ in range(5)))
    held = [claim for claim in claims if claim]
    assert len(held) == 2
    await controls.open("doc-b", "b", "read", {})
    claim = await controls.claim("read", "h", per_tenant=2)
    assert claim is not None
    assert claim.subject == "doc-b"
    assert await controls.claim("read", "h", per_tenant=2) is None
    assert await controls.claim("read", "another process", per_tenant=2) is not None
    await controls.release(held[0])
    assert await controls.claim("read", "h", per_tenant=2) is not None


async def test_an_unready_thing_is_not_claimed_until_it_is_ready(db: Database) -> None:
    controls = MongoControls(db)
    await controls.open("ftjob-1", "local", "prepare", {}, ready=False)
    assert await controls.claim("prepare", "h") is None
    assert await controls.claimable() == set()
    await controls.open("ftjob-1", "local", "prepare", {"n": 1}, ready=True)
    await controls.open("ftjob-2", "local", "train", {})
    assert await controls.claimable() == {"prepare", "train"}
    claim = await controls.claim("prepare", "h")
    assert claim is not None
    assert claim.control.inputs == {"n": 1}
    assert await controls.claimable() == {"train"}
    await controls.release(claim, retry_after=60)
    assert await controls.claimable() == {"train"}


async def test_another_tenants_document_is_not_opened(db: Database) -> None:
    controls = MongoControls(db)
    await controls.open("ftjob-1", "local", "prepare", {}, ready=False)
    with pytest.raises(PoisonError, match="not of tenant other"):
        await controls.open("ftjob-1", "other", "prepare", {"n": 1})
    found = await controls.get("ftjob-1")
    assert found is not None
    assert (found.tenant, found.ready) == ("local", False)


async def test_of_two_endings_the_first_is_the_outcome_for_everybody(db: Database) -> None:
    controls = MongoControls(db)
    await controls.open("ftjob-1", "local", "train", {})
    claim = await controls.claim("train", "h")
    assert claim is not None
    cancelled = make(JobCancelled(), subject="ftjob-1", tenant="local", id=derived_id("ftjob-1", "end"))
    won = await controls.end("ftjob-1", [cancelled])
    assert [event.type for event in won.events] == ["job.cancelled"]
    late = await controls.end("ftjob-1", [ending("ftjob-1")], claim)
    assert [event.type for event in late.events] == ["job.cancelled"]
    with pytest.raises(LostLeaseError):
        await controls.heartbeat(claim)
    assert await controls.claim("train", "h") is None


async def test_a_holder_without_its_lease_cannot_end_the_thing(db: Database) -> None:
    controls = MongoControls(db)
    await controls.open("ftjob-1", "local", "train", {})
    old = await controls.claim("train", "old")
    assert old is not None
    await controls.release(old)
    new = await controls.claim("train", "new")
    assert new is not None
    with pytest.raises(LostLeaseError):
        await controls.end("ftjob-1", [ending("ftjob-1")], old)
    assert (await controls.end("ftjob-1", [ending("ftjob-1")], new)).ended


async def test_checkpoints_only_go_forward_and_forgive_earlier_attempts(db: Database) -> None:
    controls = MongoControls(db)
    await controls.open("ftjob-1", "local", "train", {})
    claim = await controls.claim("train", "h")
    assert claim is not None
    ref = ManifestRef(key="local/ftjob-1/m", sha256="0" * 64)
    await controls.checkpoint(claim, Checkpoint(step=10, manifest=ref, epoch_end=False, fence=1))
    with pytest.raises(LostLeaseError):
        await controls.checkpoint(claim, Checkpoint(step=10, manifest=ref, epoch_end=False, fence=1))
    await controls.checkpoint(claim, Checkpoint(step=20, manifest=ref, epoch_end=True, fence=1))
    control = await controls.get("ftjob-1")
    assert control is not None
    assert [each.step for each in control.checkpoints] == [10, 20]
    assert control.attempts == 0


async def test_a_desire_opens_one_epoch_per_request(db: Database) -> None:
    controls = MongoControls(db)
    await controls.open("ftjob-1", "local", "train", {})
    first = await controls.desire("ftjob-1", "pause", "r1")
    repeated = await controls.desire("ftjob-1", "pause", "r1")
    assert first is not None
    assert repeated is not None
    assert (first.epoch, repeated.epoch) == (2, 2)
    assert await controls.claim("train", "h") is None
    resumed = await controls.desire("ftjob-1", "run", "r2")
    assert resumed is not None
    assert resumed.epoch == 3
    assert (await controls.claim("train", "h")) is not None
    await controls.end("ftjob-1", [ending("ftjob-1")])
    assert await controls.desire("ftjob-1", "pause", "r3") is None


async def test_a_recorded_input_keeps_its_first_value(db: Database) -> None:
    controls = MongoControls(db)
    await controls.open("ftjob-1", "local", "prepare", {})
    claim = await controls.claim("prepare", "h")
    assert claim is not None
    assert await controls.record(claim, "speed", {"flops": 1.5}) == {"flops": 1.5}
    assert await controls.record(claim, "speed", {"flops": 9.0}) == {"flops": 1.5}


async def test_nothing_is_created_or_claimed_while_the_read_models_are_not_whole(db: Database) -> None:
    controls = MongoControls(db)
    await controls.open("ftjob-1", "local", "train", {})
    await Builds(db).discard()
    with pytest.raises(RebuildingError):
        await controls.open("ftjob-2", "local", "train", {})
    assert await controls.claim("train", "h") is None


async def test_a_marked_retry_adopts_and_two_deliberate_posts_stay_two(db: Database) -> None:
    requests = MongoRequests(db)
    first = await requests.reserve("local", "jobs", None, "body", False, "a")
    second = await requests.reserve("local", "jobs", None, "body", False, "b")
    assert (first.id, second.id) == ("a", "b")
    retried = await requests.reserve("local", "jobs", None, "body", True, "c")
    assert (retried.id, retried.state) == ("b", "adopted")
    await requests.complete(retried)
    await requests.complete(first)
    fresh = await requests.reserve("local", "jobs", None, "body", True, "d")
    assert (fresh.id, fresh.state) == ("d", "new")


async def test_one_idempotency_key_is_one_object_for_fifty_callers(db: Database) -> None:
    requests = MongoRequests(db)
    answers = await asyncio.gather(*(requests.reserve("local", "jobs", "k", "body", False, f"i{n}") for n in range(50)))
    assert len({answer.id for answer in answers}) == 1
    assert sum(answer.state == "new" for answer in answers) == 1
    other = await requests.reserve("local", "jobs", "k", "other body", False, "z")
    assert other.state == "mismatch"
