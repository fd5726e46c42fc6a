"""An archive is unpacked as in operation: bytes from a store, a limited child, documents into the store."""

import json
import os
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.blobs import BlobRef
from contracts.canonical import canonical, sha256
from contracts.corpus import Member, document_id
from contracts.envelope import derived_id, make
from contracts.events.corpus import ZipExtracted, ZipUploaded
from contracts.events.files import FileRejected
from contracts.ports import UnavailableError
from functions.extract_zip import work as extraction
from functions.extract_zip.handler import on_zip_uploaded
from infra.adapters.memory import MemoryBlobs
from infra.children.child import ProcessChild
from infra.runtime.leases import HeldLease
from tests.children import ForkedChild
from tests.leases import Opened, held
from tests.unit.extract_zip.archives import HOSTILE, TEXT, packed

FILE = "file-" + "1" * 32
GOOD = packed({"a.txt": TEXT, "rules/b.md": b"# Rules\n\nNone.\n", "c.bin": b"\0\1", "rules/d.txt": TEXT})


def lease(blob: BlobRef) -> HeldLease:
    """Return a lease on the unpacking of FILE, whose bytes lie in `blob`."""
    data = ZipUploaded(blob=blob, filename="f.zip", purpose="fine-tune").model_dump(mode="json")
    return held(FILE, "acme", "extract_zip", {"event_id": "e1", "uploaded": data})


async def extract(blobs: MemoryBlobs, blob: BlobRef, scratch: Path) -> ZipExtracted | FileRejected:
    """Return what became of the archive, having checked the envelope around it and that nothing is left on disk."""
    scratch.mkdir(exist_ok=True)
    beside = sorted(scratch.parent.rglob("*"))
    [event] = await extraction.work(lease(blob), blobs, ForkedChild(), scratch)
    assert sorted(scratch.parent.rglob("*")) == beside
    assert (event.subject, event.tenant, event.cause) == (FILE, "acme", "e1")
    assert isinstance(event.data, ZipExtracted | FileRejected)
    name = "verdict" if isinstance(event.data, FileRejected) else "zip.extracted"
    assert event.id == derived_id(FILE, name)
    return event.data


async def test_documents_are_stored_and_every_member_is_listed(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    blob = await blobs.put(f"acme/{FILE}/content", GOOD)
    extracted = await extract(blobs, blob, tmp_path / "scratch")
    assert isinstance(extracted, ZipExtracted)
    assert (extracted.taken, extracted.skipped) == (2, 2)
    assert [(each.path, each.code) for each in extracted.first_skipped] == [
        ("c.bin", "unsupported"),
        ("rules/d.txt", "duplicate"),
    ]
    assert extracted.manifest.key == f"acme/{FILE}/members.json"
    listed = await blobs.get(extracted.manifest.key)
    members = [Member.model_validate(member) for member in json.loads(listed)]
    assert canonical([member.model_dump(mode="json") for member in members]) == listed
    assert [(member.path, member.format, member.code) for member in members] == [
        ("a.txt", "txt", None),
        ("c.bin", None, "unsupported"),
        ("rules/b.md", "md", None),
        ("rules/d.txt", None, "duplicate"),
    ]
    assert members[0].document == document_id(FILE, sha256(TEXT))
    stored = {
        member.document: sha256(await blobs.get(f"acme/{FILE}/documents/{member.document}/content"))
        for member in members
        if member.document
    }
    assert stored == {member.document: member.sha256 for member in members if member.document}
    assert len(await blobs.list(f"acme/{FILE}/documents/")) == 2
    assert await extract(blobs, blob, tmp_path / "scratch") == extracted


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_an_archive_that_means_harm_is_refused_within_limits(hostile: str, tmp_path: Path) -> None:
    """A code, at most 1 GiB of memory and 30 s, nothing in the store and nothing on disk."""
    make_archive, code = HOSTILE[hostile]
    blobs = MemoryBlobs()
    blob = await blobs.put(f"acme/{FILE}/content", make_archive())
    began = time.perf_counter()
    found = await extract(blobs, blob, tmp_path / "scratch")
    assert isinstance(found, FileRejected)
    assert (found.code, found.param) == (code, "file")
    assert time.perf_counter() - began < 30
    assert extraction.LIMITS.memory_bytes <= 2**30  # the kernel holds the child to it
    assert await blobs.list("acme/") == [blob.key]


async def test_an_archive_of_many_bytes_is_unpacked_in_flat_memory(tmp_path: Path) -> None:
    """120 MB of PDF pass through a process that may use 150 MiB in all."""
    archive, folder = tmp_path / "input", tmp_path / "members"
    folder.mkdir()
    noise = os.urandom(10**6)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
        for number in range(3):
            with target.open(f"{number}.pdf", "w") as member:
                member.write(b"%%PDF-1.7 %d\n" % number)
                for _ in range(40):
                    member.write(noise)
    spec = tmp_path / "spec.json"
    paths = {"input": archive, "folder": folder, "members": tmp_path / "members.jsonl"}
    spec.write_text(json.dumps({name: str(path) for name, path in paths.items()}))
    result = await ProcessChild().run("functions.extract_zip.unpack", spec, memory_bytes=150 * 2**20, seconds=120)
    assert (result.code, json.loads(result.stdout)) == (0, {"ok": True}), result.stderr
    assert sorted(path.stat().st_size // 10**6 for path in folder.iterdir()) == [40] * 3


async def test_an_outside_blob_is_copied_under_the_archive(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    blob = await blobs.put("acme/ingest/mine/docs.zip", GOOD)
    assert isinstance(await extract(blobs, blob, tmp_path / "scratch"), ZipExtracted)
    assert await blobs.get(f"acme/{FILE}/content") == GOOD


@pytest.mark.parametrize("key", ["other/ingest/x", f"other/{FILE}/content", "acme/file-2/content", "acme/ingest/../x"])
async def test_a_foreign_blob_is_refused_unread(key: str, tmp_path: Path) -> None:
    found = await extract(MemoryBlobs(), BlobRef(key=key, sha256=sha256(b""), bytes=0), tmp_path / "scratch")
    assert isinstance(found, FileRejected)
    assert (found.code, found.param) == ("foreign_blob", "blob.key")


async def test_bytes_that_are_too_many_missing_or_others_are_refused(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    key = "acme/ingest/x"
    claimed = BlobRef(key=key, sha256=sha256(b"a"), bytes=1)
    codes = []
    for blob in (claimed.model_copy(update={"bytes": 2**31 + 1}), claimed):
        found = await extract(blobs, blob, tmp_path / "scratch")
        assert isinstance(found, FileRejected)
        codes.append(found.code)
    await blobs.put(key, b"b")
    found = await extract(blobs, claimed, tmp_path / "scratch")
    assert isinstance(found, FileRejected)
    assert [*codes, found.code] == ["archive_too_large", "blob_not_found", "blob_mismatch"]


async def test_what_takes_too_long_is_too_complex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "LIMITS", replace(extraction.LIMITS, seconds=1e-4))
    blobs = MemoryBlobs()
    found = await extract(blobs, await blobs.put(f"acme/{FILE}/content", GOOD), tmp_path / "scratch")
    assert isinstance(found, FileRejected)
    assert found.code == "archive_too_complex"


async def test_a_store_that_is_away_is_waited_out(tmp_path: Path) -> None:
    class Away(MemoryBlobs):
        async def store(self, key: str, path: Path, media_type: str = "application/octet-stream") -> BlobRef:
            raise UnavailableError("minio")

    blobs = Away()
    blob = await blobs.put(f"acme/{FILE}/content", GOOD)
    with pytest.raises(UnavailableError):
        await extract(blobs, blob, tmp_path / "scratch")


async def test_an_unpacking_that_fails_too_often_is_a_verdict() -> None:
    blob = BlobRef(key="a/b", sha256="", bytes=0)
    [event] = extraction.exhausted(lease(blob).claim, "the disk is full")
    assert (event.id, event.type) == (derived_id(FILE, "verdict"), "file.rejected")
    assert isinstance(event.data, FileRejected)
    assert event.data.code == "extraction_failed"


async def test_an_upload_to_train_on_opens_its_unpacking_and_no_other_does() -> None:
    opened = Opened()
    for purpose in ("fine-tune", "embedding", "ingestion"):
        data = ZipUploaded(blob=BlobRef(key="a/b", sha256="", bytes=0), filename="f", purpose=purpose)
        event = make(data, subject=FILE, tenant="acme", id="e1")
        await on_zip_uploaded(event, opened.controls, opened.wake)
    ((what, inputs),) = opened.inputs.items()
    assert what == (FILE, "acme", "extract_zip")
    assert (inputs.keys(), inputs["event_id"]) == ({"event_id", "uploaded"}, "e1")
    assert inputs["uploaded"]["purpose"] == "fine-tune"
    assert opened.woken == [("extract_zip", [FILE])]
