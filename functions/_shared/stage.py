"""One child stage: a scratch folder, bytes brought there, a limited child run on a spec, and the event at its end."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.blobs import BlobRef
from contracts.controls import Control
from contracts.envelope import Event, derived_id, make
from contracts.events import Payload
from contracts.ports import BlobMismatchError, Blobs, Child, Lease
from functions._shared.child import OUT_OF_MEMORY

FETCHES = 3
"""A transfer may be damaged; what is stored stays damaged."""
_AT_ONCE = 8


class NoResultError(Exception):
    """Nothing can be made of what the stage was given; `data` is the event that says so."""

    def __init__(self, data: Payload) -> None:
        super().__init__(type(data).__name__)
        self.data = data


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may use of this machine."""

    memory_bytes: int
    """Of address space."""
    seconds: float


@dataclass(frozen=True, slots=True)
class ChildStage:
    """One attempt at work that a child does."""

    lease: Lease
    blobs: Blobs
    child: Child
    folder: Path
    """The attempt's own, absolute, for children work in another one."""

    @property
    def control(self) -> Control:
        """The control document as it was claimed."""
        return self.lease.claim.control

    async def fetch(self, blob: BlobRef, name: str) -> Path:
        """Bring bytes to the folder; raises as `fetch` does."""
        path = self.folder / name
        await fetch(self.blobs, blob, path)
        return path

    async def fetch_all(self, wanted: Mapping[str, BlobRef]) -> None:
        """Bring bytes to the folder under these names, several at a time; raises as `fetch` does."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def bring(name: str, blob: BlobRef) -> None:
            async with gate:
                await self.fetch(blob, name)

        try:
            async with asyncio.TaskGroup() as group:
                for name, blob in wanted.items():
                    group.create_task(bring(name, blob))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors  # whoever runs this looks for UnavailableError itself

    async def run(self, module: str, spec: Mapping[str, Any], limits: Limits, doing: str, beyond: Payload) -> Any:
        """Return the JSON that a child prints, of whose spec every path becomes text.

        Raises NoResultError with `beyond` where it needs more than `limits`, ChildFailedError where it fails.
        """
        path = self.folder / "spec.json"
        await asyncio.to_thread(path.write_text, json.dumps(spec, default=os.fspath), encoding="utf-8")
        result = await self.child.run(module, path, memory_bytes=limits.memory_bytes, seconds=limits.seconds)
        if result.code < 0 or result.code == OUT_OF_MEMORY:
            raise NoResultError(beyond)
        if result.code:
            raise result.failed(doing)
        return await asyncio.to_thread(json.loads, result.stdout)


async def run_stage(
    lease: Lease, blobs: Blobs, child: Child, scratch: Path, do: Callable[[ChildStage], Awaitable[Payload]]
) -> Payload:
    """Return what the stage ends with: what `do` returns, or why it has no result."""
    async with scratch_of(lease, scratch) as folder:
        try:
            return await do(ChildStage(lease, blobs, child, folder))
        except NoResultError as error:
            return error.data


@asynccontextmanager
async def scratch_of(lease: Lease, scratch: Path) -> AsyncIterator[Path]:
    """Lend an attempt a folder of its own, named by subject and fence; it is gone afterwards."""
    claim = lease.claim
    folder = (scratch / f"{claim.subject.replace('/', '-')}-{claim.fence}").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def fetch(blobs: Blobs, blob: BlobRef, path: Path) -> None:
    """Bring bytes to `path`; raises BlobNotFoundError, or BlobMismatchError where they are damaged each time."""
    for left in reversed(range(FETCHES)):
        try:
            await blobs.fetch(blob, path)
        except BlobMismatchError:
            if not left:
                raise
        else:
            return


def event_of(control: Control, data: Payload, *natural_key: str | int, subject: str | None = None) -> Event:
    """Return the stage's event about its own subject or another one; made again, it says the same."""
    return make(
        data,
        subject=subject or control.subject,
        tenant=control.tenant,
        id=derived_id(*natural_key),
        cause=control.inputs["event_id"],
    )
