"""Storage does not grow for ever: expired files go, blobs that no record knows go after a day, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.events.completions import CompletionCancelled, CompletionRecorded, CompletionRequested
from contracts.events.files import FileDeleted, FileUploaded
from contracts.events.jobs import JobCancelled, JobCreated
from contracts.ports import RebuildingError
from infra.adapters.memory import MemoryBlobs
from infra.runtime.sweeper import Sweeper
from tests.functional.edge import BASE, World

HOUR = 3600 * 1000
DAY = 24 * HOUR


class Place(World):
    """A world with a clock."""

    def __post_init__(self) -> None:
        self.now = 100 * DAY
        self.blobs = MemoryBlobs(lambda: self.now)
        super().__post_init__()
        self.rebuilding_at: int | None = None
        """At which look at the gate a rebuild has begun."""
        self.looks = 0
        documents: Any = self.documents
        documents.check = self._check

    async def _check(self) -> None:
        self.looks += 1
        if self.rebuilding_at is not None and self.looks >= self.rebuilding_at:
            raise RebuildingError

    @property
    def sweeper(self) -> Sweeper:
        documents: Any = self.documents
        return Sweeper(documents, self.blobs, self.emit, self.requests, self.controls, lambda: self.now, settle=0)

    async def file(self, id: str, expires_after: int | None = None, tenant: str = "acme") -> None:
        blob = await self.blobs.put(f"{tenant}/{id}/content", b"x")
        uploaded = FileUploaded(blob=blob, filename="a", purpose="fine-tune", expires_after=expires_after)
        await self.say(uploaded, id, tenant)

    async def subjects(self) -> list[str]:
        return sorted({key.rpartition("/")[0] for key in await self.blobs.list("")})


@pytest.fixture
def place() -> Place:
    return Place()


async def test_what_no_record_knows_goes_after_a_day_and_what_one_knows_stays(place: Place) -> None:
    await place.file("file-known")
    await place.say(JobCreated(model=BASE, training_file="file-known"), "ftjob-known", "acme")
    for subject in ("file-lost", "ftjob-lost", "bench-lost", "ftjob-known"):
        await place.blobs.put(f"acme/{subject}/a/b", b"x")
    others = ("acme/ingest/a", "public/base/manifest.json", "acme/something/else")
    for key in others:
        await place.blobs.put(key, b"x")
    before = await place.subjects()
    place.now += DAY
    assert await place.sweeper.sweep() == 0
    assert await place.subjects() == before
    place.now += 1
    assert await place.sweeper.sweep() == 3
    assert await place.subjects() == [name for name in before if "lost" not in name]


async def test_an_upload_in_flight_keeps_all_that_was_stored_under_its_id(place: Place) -> None:
    await place.blobs.put("acme/file-slow/part-1", b"x")
    place.now += 2 * DAY
    await place.blobs.put("acme/file-slow/part-2", b"x")
    assert await place.sweeper.sweep() == 0
    assert len(await place.blobs.list("acme/file-slow/")) == 2


async def test_bytes_that_a_retry_may_adopt_stay(place: Place) -> None:
    await place.requests.reserve("acme", "files", "key", "0" * 64, False, "file-reserved")
    await place.blobs.put("acme/file-reserved/content", b"x")
    place.now += 2 * DAY
    assert await place.sweeper.sweep() == 0


@pytest.mark.parametrize("moment", ["listed", "settled"])
async def test_a_record_that_comes_during_the_sweep_saves_its_bytes(
    place: Place, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.blobs.put("acme/file-late/content", b"x")
    place.now += 2 * DAY
    walk, sweeper = place.blobs.walk, place.sweeper

    async def late(prefix: str) -> Any:
        async for stat in walk(prefix):
            yield stat
        await place.file("file-late")

    async def settle(_seconds: float) -> None:
        await place.file("file-late")

    if moment == "listed":
        monkeypatch.setattr(place.blobs, "walk", late)
    else:
        monkeypatch.setattr("infra.runtime.sweeper.pause", settle)
    assert await sweeper.sweep() == 0
    assert await place.blobs.get("acme/file-late/content") == b"x"


@pytest.mark.parametrize("look", [1, 2])
async def test_nothing_is_swept_while_read_models_are_rebuilt(place: Place, look: int) -> None:
    await place.file("file-known")
    place.documents.stored["files"].clear()  # as a rebuild begins
    place.now += 2 * DAY
    place.rebuilding_at = look
    with pytest.raises(RebuildingError):
        await place.sweeper.sweep()
    assert await place.blobs.list("") == ["acme/file-known/content"]


async def test_bytes_under_a_deleted_file_and_under_another_tenants_id_are_orphans(place: Place) -> None:
    await place.file("file-1")
    await place.say(FileDeleted(), "file-1", "acme")
    await place.file("file-2")
    await place.blobs.put("umbrella/file-2/content", b"x")
    place.now += 2 * DAY
    assert await place.sweeper.sweep() == 2
    assert await place.blobs.list("") == ["acme/file-2/content"]


async def test_checkpoints_that_an_ended_job_left_go(place: Place) -> None:
    await place.say(JobCreated(model=BASE, training_file="file-1"), "ftjob-1", "acme")
    await place.blobs.put("acme/ftjob-1/ckpt/1/5/weights", b"x")
    await place.blobs.put("acme/ftjob-1/probe.json", b"x")
    place.now += 30_000 * DAY
    await place.sweeper.sweep()
    assert len(await place.blobs.list("")) == 2, "it has not ended"
    await place.say(JobCancelled(), "ftjob-1", "acme")
    await place.sweeper.sweep()
    assert await place.blobs.list("") == ["acme/ftjob-1/probe.json"]


async def expired(place: Place, id: str) -> bool:
    view = await place.documents.get("files", id)
    assert view is not None
    return bool(view["deleted"])


async def test_a_file_goes_at_its_time_and_not_before(place: Place) -> None:
    await place.file("file-1", expires_after=3600)
    await place.file("file-2")
    view = await place.documents.get("files", "file-1")
    assert view is not None
    place.now = view["expires_at"] - 1
    assert await place.sweeper.expire() == 0
    place.now += 1
    assert await place.sweeper.expire() == 1
    assert [await expired(place, id) for id in ("file-1", "file-2")] == [True, False]
    assert place.emit.events[-1].data.model_dump() == {"reason": "expired"}
    assert await place.sweeper.expire() == 0


async def test_a_file_that_a_job_still_reads_waits_for_its_end(place: Place) -> None:
    await place.file("file-1", expires_after=3600)
    await place.say(JobCreated(model=BASE, training_file="file-1"), "ftjob-1", "acme")
    place.now += 30_000 * DAY
    assert await place.sweeper.expire() == 0
    await place.say(JobCancelled(), "ftjob-1", "acme")
    assert await place.sweeper.expire() == 1


async def kept(place: Place, id: str, days: int = 30, tenant: str = "acme", size: int = 1) -> None:
    blob = await place.blobs.put(f"{tenant}/{id}/content", bytes(size))
    said = CompletionRecorded(kind="response", model="m", blob=blob, expires_after=days * DAY // 1000)
    await place.say(said, id, tenant)


async def living(place: Place) -> list[str]:
    found = await place.documents.find("completions", {"deleted": False}, [("created_at", 1)])
    return [f"{view['tenant']}/{view['id']}" for view in found]


async def test_completions_go_when_their_days_are_over(place: Place) -> None:
    await kept(place, "resp_a", days=1)
    await kept(place, "chatcmpl-b", days=2)
    view = await place.documents.get("completions", "resp_a")
    assert view is not None
    place.now = view["expires_at"] - 1
    assert await place.sweeper.expire_completions() == 0
    place.now += 1
    assert await place.sweeper.expire_completions() == 1
    assert await living(place) == ["acme/chatcmpl-b"]
    await place.blobs.put("acme/resp_lost/content", b"x")
    place.now += 2 * DAY
    assert await place.sweeper.sweep() == 2  # what is deleted, and what nobody knows
    assert await place.blobs.list("") == ["acme/chatcmpl-b/content"]


async def test_a_tenant_that_keeps_too_much_loses_its_oldest_and_nobody_elses(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        await kept(place, f"resp_{number}", size=10)
    await kept(place, "resp_z", tenant="other")
    monkeypatch.setattr("functions.erase_content.core.MOST_COMPLETIONS", 3)
    assert await place.sweeper.expire_completions() == 1
    assert await living(place) == ["acme/resp_1", "acme/resp_2", "acme/resp_3", "other/resp_z"]
    monkeypatch.setattr("functions.erase_content.core.MOST_COMPLETION_BYTES", 25)
    monkeypatch.setattr("infra.runtime.sweeper.MOST_BYTES", 10)
    monkeypatch.setattr("infra.runtime.sweeper._AT_ONCE", 1)
    assert await place.sweeper.expire_completions() == 1
    assert await living(place) == ["acme/resp_2", "acme/resp_3", "other/resp_z"]


async def test_a_response_that_is_being_made_is_never_the_one_too_many_and_goes_at_its_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = await place.blobs.put("acme/resp_open/request", bytes(30))
    await place.say(CompletionRequested(model="m", blob=blob, expires_after=DAY // 1000), "resp_open", "acme")
    for number in range(2):
        await kept(place, f"resp_{number}", size=10)
    monkeypatch.setattr("functions.erase_content.core.MOST_COMPLETIONS", 0)
    assert await place.sweeper.expire_completions() == 2
    assert await living(place) == ["acme/resp_open"]
    await place.say(CompletionCancelled(), "resp_open", "acme")
    monkeypatch.setattr("functions.erase_content.core.MOST_COMPLETIONS", 1)
    assert await place.sweeper.expire_completions() == 0
    view = await place.documents.get("completions", "resp_open")
    assert view is not None
    place.now = view["expires_at"]
    assert await place.sweeper.expire_completions() == 1
    place.now += 2 * DAY
    assert await place.sweeper.sweep() == 3
    assert await place.blobs.list("") == []
