"""Files of stored models on this machine: by their manifest's hash, verified, shared by all its processes, bounded."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any

from contracts.blobs import BlobRef
from contracts.canonical import sha256
from contracts.manifest import Manifest, ManifestFile, ManifestRef
from contracts.ports import BlobMismatchError, BlobNotFoundError, Blobs
from functions._shared.stage import fetch

UNUSED_SECONDS = 30 * 24 * 3600.0
"""After which a model's files leave this machine."""
SHARE = 0.5
"""Of the space that would be free without them: what all models may take; the least recently used leave first."""
_LOOK_SECONDS = 0.05


class UnusableModelError(Exception):
    """A stored model is not what its manifest says."""


def is_inside(path: str) -> bool:
    """Whether a manifest's path stays in the model's folder."""
    parts = PurePosixPath(path)
    return bool(parts.parts) and not parts.is_absolute() and ".." not in parts.parts and "\\" not in path


async def read_manifest(blobs: Blobs, ref: ManifestRef) -> Manifest:
    """Return a manifest; raises BlobNotFoundError, BlobMismatchError, or ValidationError where it is none."""
    data = await blobs.get(ref.key)
    if sha256(data) != ref.sha256:
        raise BlobMismatchError(f"the manifest {ref.key} does not have the hash {ref.sha256}")
    return Manifest.model_validate_json(data)


class ModelFiles:
    """The models in the folder `cache`, which is this machine's."""

    def __init__(self, blobs: Blobs, cache: Path) -> None:
        self.blobs = blobs
        self._models, self._locks = cache.resolve() / "models", cache.resolve() / "locks"

    @asynccontextmanager
    async def hold(self, ref: ManifestRef, only: Collection[str] = ()) -> AsyncIterator[Path]:
        """Lend the folder with a model's files, or `only` those of some names; it stays as long as the block runs.

        Raises UnusableModelError.
        """
        folder = self._models / ref.sha256
        async with self._held(ref.sha256):
            try:
                manifest = await read_manifest(self.blobs, ref)
                wanted = [each for each in manifest.files if (each.path in only if only else each.role != "resume")]
                await self._bring(wanted, folder)
            except (BlobNotFoundError, BlobMismatchError) as error:
                raise UnusableModelError(str(error)) from error
            yield folder

    @asynccontextmanager
    async def _held(self, name: str) -> AsyncIterator[None]:
        """Keep a folder from being evicted by whatever process; its lock's time of change is that of its last use."""
        path = self._locks / name
        with _opened(path) as lock:
            while not _locked(lock, fcntl.LOCK_SH):  # it is being evicted
                await asyncio.sleep(_LOOK_SECONDS)
            os.utime(lock.fileno())
            try:
                yield
            finally:
                os.utime(lock.fileno())

    async def _bring(self, files: Sequence[ManifestFile], folder: Path) -> None:
        """Fetch what is missing or damaged; each file appears whole, so that two may fetch the same at once."""
        for file in files:
            if not is_inside(file.path):
                raise BlobMismatchError(f"the manifest names a file outside its folder: {file.path!r}")
        missing = await asyncio.to_thread(lambda: [each for each in files if not _intact(folder / each.path, each)])
        if not missing:
            return
        await asyncio.to_thread(self._make_room, sum(file.bytes for file in missing))
        for file in missing:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                await fetch(self.blobs, BlobRef(key=file.key, sha256=file.sha256, bytes=file.bytes), path)
            except BlobMismatchError as error:
                raise BlobMismatchError(f"{file.path}: the stored bytes do not have their hash") from error
            except BlobNotFoundError as error:
                raise BlobNotFoundError(f"{file.path}: its blob {file.key} is gone") from error

    def _make_room(self, needed: int) -> None:
        """Evict what nobody holds: models long unused, and others until `needed` bytes more are within the bound."""
        self._models.mkdir(parents=True, exist_ok=True)
        found = sorted((self._last_used(folder), folder, _size(folder)) for folder in self._models.iterdir())
        taken = sum(size for _, _, size in found)
        most = SHARE * (shutil.disk_usage(self._models).free + taken)
        oldest = time.time() - UNUSED_SECONDS
        for used, folder, size in found:
            if used > oldest and taken + needed <= most:
                return
            with _opened(self._locks / folder.name) as lock:
                if _locked(lock, fcntl.LOCK_EX):
                    shutil.rmtree(folder, ignore_errors=True)
                    taken -= size

    def _last_used(self, folder: Path) -> float:
        lock = self._locks / folder.name
        with suppress(FileNotFoundError):  # nobody has held it yet
            return lock.stat().st_mtime
        with suppress(FileNotFoundError):  # another process has evicted it
            return folder.stat().st_mtime
        return 0.0


def _opened(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


def _locked(lock: IO[bytes], how: int) -> bool:
    """Take a lock that ends with the open file, of this process or of a dead one, unless another is in its way."""
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _intact(path: Path, file: ManifestFile) -> bool:
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def _size(folder: Path) -> int:
    """Bytes in a folder from which files may go meanwhile."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.lstat(f"{place}/{name}").st_size
    return size


def stop_ids(folder: Path, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end a text, as the tokenizer and both configs of a model name them."""
    stops = {tokenizer.eos_token_id}
    for name in ("config.json", "generation_config.json"):
        path = folder / name
        found = json.loads(path.read_text("utf-8")).get("eos_token_id") if path.is_file() else None
        stops.update(found if isinstance(found, list) else [found])
    return frozenset(stop for stop in stops if isinstance(stop, int))


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Return the tokens that decoding leaves out: those with a name, such as eos, and added ones marked special."""
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(tokenizer.all_special_ids) | {id for id, token in added if token.special}
