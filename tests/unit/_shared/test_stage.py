"""A child stage brings bytes, runs a child within limits, and leaves nothing behind."""

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.blobs import BlobRef
from contracts.events import Payload
from contracts.events.files import FileDeleted, FileRejected
from contracts.ports import BlobMismatchError, BlobNotFoundError, ChildFailedError, ChildResult
from functions._shared.child import OUT_OF_MEMORY
from functions._shared.stage import ChildStage, Limits, event_of, fetch, run_stage
from functions._shared.uploaded import UnusableBlobError, bring, check_owner
from infra.adapters.memory import MemoryBlobs
from infra.children.child import ProcessChild
from tests.leases import held

BEYOND = FileRejected(code="too_complex", message="Too much.", param="file")
LIMITS = Limits(memory_bytes=2**28, seconds=30)
LEASE = held("file-1/plan", "acme", "plan_corpus", {"event_id": "e1"})


class Ends:
    """A child that ends with a status, having printed what its spec says."""

    def __init__(self, code: int) -> None:
        self.code = code

    async def run(self, module: str, argument: Path, memory_bytes: int = 0, seconds: float = 0) -> ChildResult:
        assert (memory_bytes, seconds) == (LIMITS.memory_bytes, LIMITS.seconds)
        return ChildResult(self.code, argument.read_bytes(), "")

    def start(self, module: str, argument: Path) -> Any:
        raise AssertionError


class Damaged(MemoryBlobs):
    """A store whose first transfers are damaged."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    async def fetch(self, ref: BlobRef, path: Path) -> None:
        self.times -= 1
        if self.times >= 0:
            raise BlobMismatchError(ref.key)
        await super().fetch(ref, path)


async def ending(code: int, scratch: Path, seen: list[Any]) -> Payload:
    async def do(stage: ChildStage) -> Payload:
        seen.append(stage.folder)
        seen.append(await stage.run("a.module", {"path": stage.folder / "x"}, LIMITS, "reading", BEYOND))
        return FileDeleted()

    return await run_stage(LEASE, MemoryBlobs(), Ends(code), scratch, do)


async def test_a_stage_has_a_folder_of_its_own_that_is_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[Any] = []
    assert await ending(0, Path("scratch"), seen) == FileDeleted()
    folder = tmp_path / "scratch" / "file-1-plan-1"
    assert seen == [folder, {"path": str(folder / "x")}]
    assert not folder.exists()


@pytest.mark.parametrize("code", [OUT_OF_MEMORY, -9])
async def test_a_child_beyond_its_limits_ends_the_stage_with_what_was_said_for_that(code: int, tmp_path: Path) -> None:
    assert await ending(code, tmp_path, []) == BEYOND
    assert not list(tmp_path.iterdir())


async def test_a_child_that_fails_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ChildFailedError, match="reading ended with status 1"):
        await ending(1, tmp_path, [])
    assert not list(tmp_path.iterdir())


async def test_a_child_that_runs_out_of_memory_says_so(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(json.dumps({"size": 2**40}))
    result = await ProcessChild().run("tests.unit._shared.greedy", tmp_path / "spec.json", memory_bytes=2**30)
    assert (result.code, result.stdout) == (OUT_OF_MEMORY, b"")


async def test_a_damaged_transfer_is_tried_again_and_damaged_bytes_are_not_taken(tmp_path: Path) -> None:
    blobs = Damaged(times=2)
    blob = await blobs.put("acme/file-1/content", b"rows")
    await fetch(blobs, blob, tmp_path / "content")
    assert (tmp_path / "content").read_bytes() == b"rows"
    blobs.times = 3
    with pytest.raises(BlobMismatchError):
        await fetch(blobs, blob, tmp_path / "again")
    with pytest.raises(BlobNotFoundError):
        await fetch(MemoryBlobs(), blob, tmp_path / "again")


async def test_an_event_of_a_stage_is_the_same_when_it_is_made_again() -> None:
    control = LEASE.control
    first = event_of(control, BEYOND, "file-1", "plan", subject="file-1")
    assert event_of(control, BEYOND, "file-1", "plan", subject="file-1") == first
    assert (first.subject, first.tenant, first.cause) == ("file-1", "acme", "e1")
    assert event_of(control, BEYOND, "file-1", "plan").subject == "file-1/plan"


@pytest.mark.parametrize(
    "key",
    ["other/file-1/content", "acme/file-2/content", "acme/file-1", "acme/ingest/../file-2/content", "acme/ingest//x"],
)
def test_a_foreign_blob_is_refused(key: str) -> None:
    with pytest.raises(UnusableBlobError, match="not yours to use") as refused:
        check_owner("acme", "file-1", BlobRef(key=key, sha256="0" * 64, bytes=1))
    assert (refused.value.code, refused.value.param) == ("foreign_blob", "blob.key")


@pytest.mark.parametrize("key", ["acme/file-1/content", "acme/ingest/mine/handbook.pdf"])
def test_a_blob_of_the_subject_or_of_the_ingest_folder_is_taken(key: str) -> None:
    check_owner("acme", "file-1", BlobRef(key=key, sha256="0" * 64, bytes=1))


async def test_bytes_of_the_ingest_folder_become_the_subjects_own(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    given = await blobs.put("acme/ingest/mine/x", b"bytes")
    own = await bring(blobs, "acme", "file-1", given, tmp_path / "x", "acme/file-1/content")
    assert own.key == "acme/file-1/content"
    assert await blobs.get(own.key) == b"bytes"
    assert await bring(blobs, "acme", "file-1", own, tmp_path / "x", "acme/file-1/other") == own


@pytest.mark.parametrize(
    ("blobs", "code", "param"),
    [(MemoryBlobs(), "blob_not_found", "blob.key"), (Damaged(times=9), "blob_mismatch", "blob.sha256")],
)
async def test_bytes_that_are_not_as_stated_are_refused(
    blobs: MemoryBlobs, code: str, param: str, tmp_path: Path
) -> None:
    blob = BlobRef(key="acme/file-1/content", sha256="0" * 64, bytes=1)
    with pytest.raises(UnusableBlobError) as refused:
        await bring(blobs, "acme", "file-1", blob, tmp_path / "x", "acme/file-1/own")
    assert (refused.value.code, refused.value.param) == (code, param)
