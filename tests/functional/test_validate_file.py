"""A file is validated as in operation: bytes from a store, the check in a limited process of its own."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.blobs import BlobRef
from contracts.canonical import sha256
from contracts.envelope import derived_id, make, sayable
from contracts.events.corpus import DocumentUploaded, ZipUploaded
from contracts.events.files import FileRejected, FileUploaded, FileValidated
from functions.validate_file import work as validation
from functions.validate_file.handler import on_file_uploaded
from infra.adapters.memory import MemoryBlobs
from infra.children.child import ProcessChild
from infra.runtime.leases import HeldLease
from tests.children import ForkedChild
from tests.functional.test_edge_files import member
from tests.leases import Opened, held

FILE = "file-" + "1" * 32
ROW = json.dumps({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})


def lease(blob: BlobRef, **uploaded: Any) -> HeldLease:
    """Return a lease on the validation of FILE, whose bytes lie in `blob`."""
    data = FileUploaded(blob=blob, filename="f.jsonl", purpose="fine-tune", **uploaded).model_dump(mode="json")
    return held(FILE, "acme", "validate", {"event_id": "e1", "uploaded": data})


async def validate(blobs: MemoryBlobs, blob: BlobRef, scratch: Path) -> FileValidated | FileRejected:
    """Return the verdict, having checked the envelope around it."""
    events = await validation.work(lease(blob), blobs, ForkedChild(), scratch)
    assert len(events) == 1
    assert (events[0].id, events[0].subject, events[0].tenant) == (derived_id(FILE, "verdict"), FILE, "acme")
    data = events[0].data
    assert isinstance(data, FileValidated | FileRejected)
    return data


async def test_a_good_file_becomes_rows_and_twice_the_same_event(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    blob = await blobs.put(f"acme/{FILE}/content", (ROW + "\n").encode() * 12)
    first = await validate(blobs, blob, tmp_path)
    assert isinstance(first, FileValidated)
    assert (first.rows, first.format, first.shape) == (12, "jsonl", "chat")
    rows = (await blobs.get(first.blob.key)).splitlines()
    assert first.blob.key == f"acme/{FILE}/rows.jsonl"
    assert json.loads(rows[11]) == {**json.loads(ROW), "line": 12}
    assert await validate(blobs, blob, tmp_path) == first


async def test_a_bad_file_keeps_all_its_errors_in_a_blob(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    blob = await blobs.put(f"acme/{FILE}/content", b"{}\n" * 120)
    found = await validate(blobs, blob, tmp_path)
    assert isinstance(found, FileRejected)
    assert (found.code, found.n_errors, len(found.errors)) == ("unexpected_format", 120, 100)
    assert found.errors_blob is not None
    assert len((await blobs.get(found.errors_blob.key)).splitlines()) == 120


async def test_errors_at_endless_places_can_still_be_said(tmp_path: Path) -> None:
    nested: Any = {"text": "\ud800"}
    for number in range(60):
        nested = {f"{number:02d}{'k' * 78}": nested}
    tool = {"type": "function", "function": {"name": "f", "parameters": nested}}
    row = json.dumps({**json.loads(ROW), "tools": [tool]})
    blobs = MemoryBlobs()
    blob = await blobs.put(f"acme/{FILE}/content", f"{row}\n".encode() * 100)
    found = await validate(blobs, blob, tmp_path)
    assert isinstance(found, FileRejected)
    assert (found.code, len(found.errors)) == ("lone_surrogate", 100)
    assert found.errors[0].path.startswith("tools[0].function.parameters.59kkk")
    assert sayable(make(found, subject=FILE, tenant="acme", id="1"))


async def test_an_outside_blob_is_copied_under_the_file(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    blob = await blobs.put("acme/ingest/mine/rows.jsonl", ROW.encode())
    assert isinstance(await validate(blobs, blob, tmp_path), FileValidated)
    assert await blobs.get(f"acme/{FILE}/content") == ROW.encode()


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"PK\x03\x04" + bytes(200), ZipUploaded),
        (member("[Content_Types].xml"), DocumentUploaded),
        (b"%PDF-1.7\n", DocumentUploaded),
    ],
)
async def test_documents_under_the_name_of_rows_are_handed_on(content: bytes, wanted: type, tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    blob = await blobs.put("acme/ingest/mine/handbook", content)
    (event,) = await validation.work(lease(blob), blobs, ForkedChild(), tmp_path)
    found: Any = event.data
    assert isinstance(found, wanted)
    assert (event.id, event.subject) == (derived_id(FILE, "documents"), FILE)
    assert found.blob.key == f"acme/{FILE}/content"
    assert await blobs.get(found.blob.key) == content


@pytest.mark.parametrize("key", ["other/ingest/x", f"other/{FILE}/content", "acme/file-2/content", "acme/ingest/../x"])
async def test_a_foreign_blob_is_refused_unread(key: str, tmp_path: Path) -> None:
    blob = BlobRef(key=key, sha256=sha256(b""), bytes=0)
    found = await validate(MemoryBlobs(), blob, tmp_path)
    assert isinstance(found, FileRejected)
    assert (found.code, found.param) == ("foreign_blob", "blob.key")


async def test_bytes_that_are_missing_or_others_are_refused(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    key = "acme/ingest/x"
    claimed = BlobRef(key=key, sha256=sha256(b"a"), bytes=1)
    missing = await validate(blobs, claimed, tmp_path)
    await blobs.put(key, b"b")
    other = await validate(blobs, claimed, tmp_path)
    assert isinstance(missing, FileRejected)
    assert isinstance(other, FileRejected)
    assert (missing.code, other.code) == ("blob_not_found", "blob_mismatch")


async def test_what_needs_too_much_memory_is_too_complex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "LIMITS", replace(validation.LIMITS, memory_bytes=300 * 2**20))
    blobs = MemoryBlobs()
    hostile = b'{"messages": [' + b"[]," * (5 * 2**20) + b"[]]}"
    blob = await blobs.put(f"acme/{FILE}/content", hostile)
    found = await validate(blobs, blob, tmp_path)
    assert isinstance(found, FileRejected)
    assert found.code == "file_too_complex"


async def test_large_files_are_read_in_flat_memory(tmp_path: Path) -> None:
    """40 MB of each format and a line of 200 MB pass through a process that may use 150 MiB in all."""
    chat = json.dumps({"messages": [{"role": "user", "content": "q " * 200}, {"role": "assistant", "content": "a"}]})
    count = 40 * 10**6 // len(chat)
    files: dict[str, Callable[[Any], Any]] = {
        "jsonl": lambda out: out.writelines(f"{chat}\n" for _ in range(count)),
        "json": lambda out: out.writelines(["[", chat, *(f",\n{chat}" for _ in range(count - 1)), "]"]),
        "csv": lambda out: out.writelines(["prompt,completion\n", *(f'"{"q " * 200}",a\n' for _ in range(count))]),
        "line": lambda out: out.writelines(['{"messages": "', *("x" * 10**6 for _ in range(200))]),
    }
    for name, write in files.items():
        path = tmp_path / name
        with path.open("w") as out:
            write(out)
        spec = tmp_path / "spec.json"
        spec.write_text(json.dumps({"input": str(path), "rows": str(tmp_path / "r"), "errors": str(tmp_path / "e")}))
        began = time.perf_counter()
        result = await ProcessChild().run("functions.validate_file.check", spec, memory_bytes=150 * 2**20, seconds=120)
        seconds = time.perf_counter() - began
        assert result.code == 0, result.stderr
        found = json.loads(result.stdout)
        assert (found.get("code"), found["rows"]) == (("row_too_long", 1) if name == "line" else (None, count))
        print(f"{name}: {path.stat().st_size / seconds / 1e6:.0f} MB/s")
        path.unlink()


async def test_an_upload_opens_its_validation_and_a_result_file_does_not() -> None:
    opened = Opened()
    for purpose in ("fine-tune", "fine-tune-results"):
        data = FileUploaded(blob=BlobRef(key="a/b", sha256="", bytes=0), filename="f", purpose=purpose)
        event = make(data, subject=FILE, tenant="acme", id="e1")
        await on_file_uploaded(event, opened.controls, opened.wake)
    assert list(opened.inputs) == [(FILE, "acme", "validate")]
    assert opened.woken == [("validate", [FILE])]
