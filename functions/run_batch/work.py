"""A batch under a lease: its lines are asked in parts, each recorded, and then written into files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from contracts.blobs import BlobRef
from contracts.controls import Claim
from contracts.documents import View
from contracts.envelope import Event
from contracts.events import Payload
from contracts.events.batches import BatchEnded, BatchError, BatchFinalizing, BatchProgressed, BatchStarted
from contracts.manifest import ManifestRef
from contracts.ports import (
    BlobExistsError,
    BlobNotFoundError,
    Blobs,
    Complete,
    Documents,
    Emit,
    Lease,
    PostponedError,
    UnavailableError,
)
from functions._shared.stage import event_of, fetch, scratch_of
from functions._shared.visible import visible_model
from functions.run_batch import core
from functions.run_batch.asking import Asking
from functions.run_batch.core import PART, CannotBeginError
from functions.run_batch.settings import BatchSettings

_WAIT_FOR_FILE = 1.0
_JSONL = "application/jsonl"


@dataclass(frozen=True, slots=True)
class BatchPorts:
    """What a batch needs of the world."""

    blobs: Blobs
    documents: Documents
    emit: Emit
    complete: Complete
    scratch: Path
    now: Callable[[], int]
    settings: BatchSettings


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch at work."""

    lease: Lease
    ports: BatchPorts
    folder: Path

    @property
    def id(self) -> str:
        """Of the batch."""
        return self.lease.claim.subject

    @property
    def tenant(self) -> str:
        """Whose batch it is."""
        return self.lease.claim.control.tenant

    def part(self, number: int) -> str:
        """Return where the answers of a part lie."""
        return f"{self.tenant}/{self.id}/parts/{number:05d}.jsonl"

    async def view(self) -> View:
        """Return the batch as it is known now."""
        found = await self.ports.documents.get("batches", self.id)
        if found is None:
            raise UnavailableError("mongo", f"the batch {self.id} is not known yet")
        return found

    def event(self, data: Payload, *key: str | int, subject: str | None = None) -> Event:
        """Return an event of this batch, or of a file of its."""
        return event_of(self.lease.claim.control, data, self.id, *key, subject=subject)

    async def say(self, data: Payload, *key: str | int) -> None:
        """Publish one."""
        await self.ports.documents.apply(await self.ports.emit(self.event(data, *key)))


async def work(lease: Lease, ports: BatchPorts) -> list[Event]:
    """Return the files of answers and `batch.ended` for the batch that `lease` holds.

    Blobs: parts/{number}.jsonl, which are not asked again. Raises UnavailableError while serving is away, and while the
    file is not checked.
    """
    async with scratch_of(lease, ports.scratch) as folder:
        batch = Batch(lease, ports, folder)
        try:
            return await _run(batch)
        except CannotBeginError as error:
            return [batch.event(BatchEnded(status="failed", errors=tuple(error.errors)), "end")]


async def _run(batch: Batch) -> list[Event]:
    view, ports = await batch.view(), batch.ports
    file = await ports.documents.get("files", view["input_file"])
    if not core.check_file(view, file) or file is None:
        if core.stop(view, ports.now()) is None:
            raise PostponedError("file", f"the file {view['input_file']} is being checked", _WAIT_FOR_FILE)
        return [batch.event(core.ended(core.stop(view, ports.now()), 0, (0, 0), {}), "end")]
    valid = file["validated"]
    asking = Asking(
        ports.complete,
        batch.id,
        batch.tenant,
        view["created"]["endpoint"],
        await _manifest(batch, valid["model"]),
        asyncio.Semaphore(ports.settings.batch_concurrency),
        ports.now,
    )
    await batch.say(BatchStarted(total=valid["rows"], model=valid["model"]), "started")
    lines = batch.folder / "lines.jsonl"
    try:
        await fetch(ports.blobs, BlobRef.model_validate(valid["blob"]), lines)
    except BlobNotFoundError:
        raise CannotBeginError(BatchError(code="file_deleted", message="The file was deleted.")) from None
    why = await _ask(batch, asking, lines)
    await batch.say(BatchFinalizing(), "finalizing")
    return await _written(batch, view["created"]["expires_after"], lines, valid["rows"], why)


async def _manifest(batch: Batch, name: str) -> ManifestRef:
    """Return the weights that answer; raises CannotBeginError."""
    found = await visible_model(batch.ports.documents, batch.tenant, name)
    if found is None:
        raise core.no_model(name)
    return ManifestRef.model_validate(found["manifest"])


async def _parts(lines: Path) -> AsyncIterator[tuple[int, list[dict[str, Any]]]]:
    """Yield the requests, a part at a time, with its number."""
    with await asyncio.to_thread(lines.open, "rb") as content:
        number = 0
        while part := await asyncio.to_thread(lambda: [json.loads(line) for line in islice(content, PART)]):
            yield number, part
            number += 1


async def _ask(batch: Batch, asking: Asking, lines: Path) -> core.Stop | None:
    """Ask what is not recorded, a part after the other; return why it was not all asked."""
    completed = failed = 0
    async for number, part in _parts(lines):
        answers = await _recorded(batch, number)
        if answers is None:
            why = core.stop(await batch.view(), batch.ports.now())
            if why is not None:
                return why
            answers = await _asked(asking, part)
            with suppress(BlobExistsError):  # an attempt that lost its lease was faster; what is recorded is used
                await batch.ports.blobs.put(batch.part(number), core.encoded(answers), _JSONL, exclusive=True)
            answers = await _recorded(batch, number) or answers
        good = sum(map(core.is_good, answers))
        completed, failed = completed + good, failed + len(answers) - good
        await batch.say(BatchProgressed(completed=completed, failed=failed), "progressed", number)
    # a cancel showed at once, and is not taken back
    return "cancelled" if (await batch.view())["cancelling_at"] is not None else None


async def _asked(asking: Asking, part: Sequence[Mapping[str, Any]]) -> list[core.Answered]:
    """Return a part's answers in its order; the first failure ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asking.ask(request)) for request in part]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors  # whoever runs this looks for UnavailableError itself
    return [task.result() for task in tasks]


async def _recorded(batch: Batch, number: int) -> list[core.Answered] | None:
    try:
        content = await batch.ports.blobs.get(batch.part(number))
    except BlobNotFoundError:
        return None
    return await asyncio.to_thread(lambda: [json.loads(line) for line in content.splitlines()])


async def _written(
    batch: Batch, expires_after: int | None, lines: Path, total: int, why: core.Stop | None
) -> list[Event]:
    """Write every line into one of two files, and return their events and the ending."""
    paths = {kind: batch.folder / f"{kind}.jsonl" for kind in ("output", "error")}
    counts = {"output": 0, "error": 0}
    with paths["output"].open("wb") as output, paths["error"].open("wb") as error:
        files: Mapping[str, BinaryIO] = {"output": output, "error": error}
        async for number, part in _parts(lines):
            answers = await _recorded(batch, number)
            if answers is None and why is None:
                raise UnavailableError("minio", f"the answers of part {number} are not there")
            if answers is None and why is not None:
                answers = [core.not_asked(batch.id, each["line"], each["custom_id"], why) for each in part]
            for answer in answers or ():
                kind = "output" if core.is_good(answer) else "error"
                counts[kind] += answer["response"] is not None
                files[kind].write(core.encoded([answer]))
    events, named = [], {}
    for kind, path in paths.items():
        if path.stat().st_size:
            id = named[kind] = core.file_id(batch.id, kind)
            blob = await batch.ports.blobs.store(f"{batch.tenant}/{id}/content", path, _JSONL)
            events.append(batch.event(core.written(batch.id, kind, blob, expires_after), kind, subject=id))
    ending = core.ended(why, total, (counts["output"], counts["error"]), named)
    return [*events, batch.event(ending, "end")]


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the ending of a batch that failed too often."""
    text = f"The batch could not be run, for a reason of the platform's own: {why}. Create it again."
    ending = BatchEnded(status="failed", errors=(BatchError(code="batch_failed", message=text),))
    return [event_of(claim.control, ending, claim.subject, "end")]
