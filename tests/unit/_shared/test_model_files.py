"""Models come to a machine once, verified, and leave it when nobody needs them."""

import asyncio
import fcntl
import os
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest

from contracts.blobs import BlobRef
from contracts.canonical import sha256
from contracts.manifest import Manifest, ManifestFile, ManifestRef, Role
from functions._shared import model_files
from functions._shared.model_files import UNUSED_SECONDS, ModelFiles, UnusableModelError
from infra.adapters.memory import MemoryBlobs

SIZE = 1000


class Counted(MemoryBlobs):
    """A store that notes what is fetched and lets others run meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    async def fetch(self, ref: BlobRef, path: Path) -> None:
        self.fetched.append(ref.key)
        await asyncio.sleep(0)
        await super().fetch(ref, path)


async def store(blobs: MemoryBlobs, name: str, path: str = "model.safetensors") -> ManifestRef:
    """Store a model of SIZE bytes of weights, a tokenizer, and what only training needs."""
    roles: dict[str, Role] = {path: "weights", "tokenizer.json": "tokenizer", "resume/state.pt": "resume"}
    files = []
    for file, role in roles.items():
        content = f"{name} {file}".encode().ljust(SIZE if role == "weights" else 0, b".")
        blob = await blobs.put(f"acme/{name}/{file.replace('..', 'up').strip('/')}", content)
        files.append(ManifestFile(path=file, key=blob.key, sha256=blob.sha256, bytes=blob.bytes, role=role))
    manifest = Manifest(kind="base", files=tuple(files), template_sha256="0" * 64, context=64)
    stored = await blobs.put(f"acme/{name}/manifest.json", manifest.encoded())
    return ManifestRef(key=stored.key, sha256=stored.sha256)


async def use(files: ModelFiles, *refs: ManifestRef) -> None:
    for ref in refs:
        async with files.hold(ref):
            pass


def kept(cache: Path) -> set[str]:
    return {folder.name for folder in (cache / "models").iterdir()}


def age(cache: Path, ref: ManifestRef, seconds: float) -> None:
    lock = cache / "locks" / ref.sha256
    when = lock.stat().st_mtime - seconds
    os.utime(lock, (when, when))


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int], None]:
    """Make the disk as large as twice so many bytes of models."""

    def usage(size: int) -> None:
        def look(folder: Path) -> SimpleNamespace:
            return SimpleNamespace(
                free=2 * size - sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            )

        monkeypatch.setattr(shutil, "disk_usage", look)

    return usage


async def test_a_model_is_fetched_once_and_what_only_training_needs_is_not(tmp_path: Path) -> None:
    blobs = Counted()
    ref = await store(blobs, "a")
    files = ModelFiles(blobs, tmp_path)
    async with files.hold(ref, only=("tokenizer.json",)) as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["tokenizer.json"]
    async with files.hold(ref) as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["model.safetensors", "tokenizer.json"]
    await use(ModelFiles(blobs, tmp_path), ref)
    assert blobs.fetched == ["acme/a/tokenizer.json", "acme/a/model.safetensors"]


@pytest.mark.parametrize("damage", [b"", b"x" * SIZE])
async def test_a_damaged_file_on_disk_is_fetched_anew(damage: bytes, tmp_path: Path) -> None:
    blobs = Counted()
    ref = await store(blobs, "a")
    async with ModelFiles(blobs, tmp_path).hold(ref) as folder:
        good = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(damage)
    async with ModelFiles(blobs, tmp_path).hold(ref):
        assert (folder / "model.safetensors").read_bytes() == good
    assert len(blobs.fetched) == 3


async def test_two_may_fetch_the_same_model_at_once(tmp_path: Path) -> None:
    blobs = Counted()
    ref = await store(blobs, "a")

    async def fetched() -> str:
        async with ModelFiles(blobs, tmp_path).hold(ref) as folder:
            return sha256((folder / "model.safetensors").read_bytes())

    assert len(set(await asyncio.gather(*(fetched() for _ in range(4))))) == 1
    assert blobs.fetched.count("acme/a/model.safetensors") > 1
    assert kept(tmp_path) == {ref.sha256}


async def test_the_least_recently_used_model_leaves_when_there_is_no_room(
    tmp_path: Path, room: Callable[[int], None]
) -> None:
    blobs = MemoryBlobs()
    refs = [await store(blobs, name) for name in "abc"]
    files = ModelFiles(blobs, tmp_path)
    room(round(2.5 * SIZE))
    await use(files, *refs[:2])
    age(tmp_path, refs[0], 60)
    age(tmp_path, refs[1], 60)
    await use(files, refs[0])
    await use(files, refs[2])
    assert kept(tmp_path) == {refs[0].sha256, refs[2].sha256}


async def test_a_model_that_is_held_stays_whoever_needs_the_room(tmp_path: Path, room: Callable[[int], None]) -> None:
    blobs = MemoryBlobs()
    refs = [await store(blobs, name) for name in "abc"]
    room(SIZE)
    async with ModelFiles(blobs, tmp_path).hold(refs[0]):
        age(tmp_path, refs[0], 2 * UNUSED_SECONDS)
        await use(ModelFiles(blobs, tmp_path), *refs[1:])
        assert kept(tmp_path) == {refs[0].sha256, refs[2].sha256}
    age(tmp_path, refs[0], 2 * UNUSED_SECONDS)
    await use(ModelFiles(blobs, tmp_path), refs[1])
    assert kept(tmp_path) == {refs[1].sha256}


async def test_a_model_that_another_process_holds_stays(tmp_path: Path, room: Callable[[int], None]) -> None:
    blobs = MemoryBlobs()
    refs = [await store(blobs, name) for name in "ab"]
    room(SIZE)
    await use(ModelFiles(blobs, tmp_path), refs[0])
    code = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_SH); print(1, flush=True); input()"
    lock = str(tmp_path / "locks" / refs[0].sha256)
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", code, lock, stdin=PIPE, stdout=PIPE)
    assert other.stdout is not None
    assert await other.stdout.readline()
    await use(ModelFiles(blobs, tmp_path), refs[1])
    assert kept(tmp_path) == {ref.sha256 for ref in refs}
    other.kill()
    await other.wait()
    shutil.rmtree(tmp_path / "models" / refs[1].sha256)
    await use(ModelFiles(blobs, tmp_path), refs[1])
    assert kept(tmp_path) == {refs[1].sha256}


async def test_a_model_that_nobody_has_used_for_a_month_leaves(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    refs = [await store(blobs, name) for name in "abc"]
    files = ModelFiles(blobs, tmp_path)
    await use(files, *refs[:2])
    age(tmp_path, refs[0], UNUSED_SECONDS + 60)
    age(tmp_path, refs[1], UNUSED_SECONDS - 60)
    await use(files, refs[2])
    assert kept(tmp_path) == {refs[1].sha256, refs[2].sha256}


async def test_who_comes_while_a_model_is_evicted_waits_and_fetches_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs, waits, locked = Counted(), asyncio.Event(), model_files._locked
    ref = await store(blobs, "a")
    await use(ModelFiles(blobs, tmp_path), ref)

    def tried(lock: IO[bytes], how: int) -> bool:
        found = locked(lock, how)
        if not found:
            waits.set()
        return found

    monkeypatch.setattr(model_files, "_locked", tried)
    with (tmp_path / "locks" / ref.sha256).open("rb") as evicting:
        fcntl.flock(evicting, fcntl.LOCK_EX)
        using = asyncio.create_task(use(ModelFiles(blobs, tmp_path), ref))
        await asyncio.wait_for(waits.wait(), 10)
        shutil.rmtree(tmp_path / "models" / ref.sha256)
    await asyncio.wait_for(using, 10)
    assert (tmp_path / "models" / ref.sha256 / "model.safetensors").stat().st_size == SIZE
    assert blobs.fetched.count("acme/a/model.safetensors") == 2


async def test_what_is_not_as_its_manifest_says_is_not_lent(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    files = ModelFiles(blobs, tmp_path)
    ref = await store(blobs, "a")
    await blobs.put("acme/a/model.safetensors", b"other")
    with pytest.raises(UnusableModelError, match=r"model\.safetensors: the stored bytes do not have their hash"):
        await use(files, ref)
    await blobs.delete("acme/a/model.safetensors")
    with pytest.raises(UnusableModelError, match=r"model\.safetensors: its blob acme/a/model\.safetensors is gone"):
        await use(files, ref)
    with pytest.raises(UnusableModelError, match="does not have the hash"):
        await use(files, ref.model_copy(update={"sha256": "0" * 64}))


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../b", "a\\..\\b"])
async def test_a_manifest_cannot_write_outside_its_folder(path: str, tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    ref = await store(blobs, "a", path)
    with pytest.raises(UnusableModelError, match="outside its folder"):
        await use(ModelFiles(blobs, tmp_path / "cache"), ref)
    assert not (tmp_path / "evil").exists()
