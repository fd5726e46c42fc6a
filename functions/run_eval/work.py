"""A run of an eval under a lease: its rows are answered and graded in parts, each recorded, and then counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from contracts.blobs import BlobRef
from contracts.controls import Claim
from contracts.documents import View
from contracts.envelope import Event
from contracts.events import Payload
from contracts.events.evals import EvalRunProgressed, EvalRunStarted
from contracts.ports import (
    BlobExistsError,
    BlobNotFoundError,
    Blobs,
    Child,
    Complete,
    Documents,
    Emit,
    Lease,
    UnavailableError,
)
from contracts.wire.errors import ApiError
from contracts.wire.evals import MAX_BYTES, MAX_ROW, MAX_ROWS, PART, STORED, read_criteria, read_source
from functions._shared.grading.code import Coders, NotConfinedError
from functions._shared.grading.item_schema import TooCostlyError
from functions._shared.stage import event_of, fetch, scratch_of
from functions.run_eval import core
from functions.run_eval.core import CannotRunError, Row, Tally
from functions.run_eval.grading import Grading
from functions.run_eval.settings import EvalSettings

_WINDOW = 500
SCHEMA_SECONDS = 60.0
"""That the rows of a file may take to be held against a schema."""


@dataclass(frozen=True, slots=True)
class EvalPorts:
    """What a run needs of the world."""

    blobs: Blobs
    documents: Documents
    emit: Emit
    complete: Complete
    child: Child
    scratch: Path
    settings: EvalSettings


@dataclass
class Run:
    """One run at work."""

    lease: Lease
    ports: EvalPorts
    folder: Path

    @cached_property
    def id(self) -> str:
        """Of the run."""
        return self.lease.claim.subject

    def part(self, number: int) -> str:
        """Return where the graded rows of a part lie."""
        return f"{self.lease.claim.control.tenant}/{self.id}/items/{number:05d}.jsonl"

    async def view(self) -> View:
        """Return the run as it is known now."""
        found = await self.ports.documents.get("eval_runs", self.id)
        if found is None:
            raise UnavailableError("mongo", f"the run {self.id} is not known yet")
        return found

    def event(self, data: Payload, *key: str | int) -> Event:
        """Return an event of this run."""
        return event_of(self.lease.claim.control, data, self.id, *key)

    async def say(self, data: Payload, *key: str | int) -> None:
        """Publish one."""
        await self.ports.documents.apply(await self.ports.emit(self.event(data, *key)))


async def work(lease: Lease, ports: EvalPorts) -> list[Event]:
    """Return `eval_run.ended` for the run that `lease` holds.

    Blobs: items/{number}.jsonl, which are not answered or graded again. Raises UnavailableError while serving is away.
    """
    async with scratch_of(lease, ports.scratch) as folder:
        run = Run(lease, ports, folder)
        try:
            return [run.event(await _run(run), "end")]
        except CannotRunError as error:
            return [run.event(core.failed(error.code, str(error)), "end")]
        except NotConfinedError as error:
            return [run.event(core.failed("unsupported", error.sentence), "end")]
        except BlobNotFoundError:
            sentence = "What the run was to grade is not stored any more."
            return [run.event(core.failed("content_not_found", sentence), "end")]


async def _run(run: Run) -> Payload:
    view, ports = await run.view(), run.ports
    content = msgspec.json.decode(await ports.blobs.get(view["created"]["blob"]["key"]))
    try:
        source, criteria = read_source(content["data_source"]), read_criteria(content["testing_criteria"])
    except ApiError as error:  # an older version took it
        raise CannotRunError(error.code or "invalid_value", error.message) from None
    rows = run.folder / "rows.jsonl"
    coders = Coders(ports.child, run.folder, most=len(criteria))
    total = await _bring(run, view, content, rows)
    if (schema := content.get("item_schema")) is not None:
        await _check_items(coders, view["tenant"], schema, run.folder / "file")
    await run.say(EvalRunStarted(total=total), "started")
    gate = asyncio.Semaphore(ports.settings.eval_concurrency)
    grading = Grading(ports.complete, ports.documents, coders, view, source, criteria, gate)
    tally = Tally(criteria)
    for number, part in enumerate(_parts(rows)):
        items = await _recorded(run, number)
        if items is None:
            now = await run.view()
            if now["canceled"] or now["deleted"]:
                return tally.ended("canceled", total)
            graded = await grading.items(number * PART, part)
            with suppress(BlobExistsError):  # an attempt that lost its lease was faster; what is recorded is used
                await ports.blobs.put(run.part(number), _encoded(graded), "application/jsonl", exclusive=True)
            items = await _recorded(run, number) or graded
        tally.add(items)
        counts = tally.statuses
        said = EvalRunProgressed(passed=counts["pass"], failed=counts["fail"], errored=counts["error"])
        await run.say(said, "progressed", number)
    canceled = (await run.view())["canceled"]  # it showed at once, and is not taken back
    return tally.ended("canceled" if canceled else "completed", total)


async def _bring(run: Run, view: View, content: dict[str, Any], rows: Path) -> int:
    """Write the rows to a file, one a line; return how many there are. Raises CannotRunError."""
    source: dict[str, Any] = content["data_source"]["source"]
    lines: Sequence[bytes] | None = None
    if source["type"] in STORED:
        lines = (await _stored(run, view, source, content.get("metadata"))).splitlines()
    elif source["type"] == "file_content":
        lines = [json.dumps(each).encode() for each in source["content"]]
    else:
        file = core.check_file(await run.ports.documents.get("files", source["id"]), view["tenant"], source["id"])
        await fetch(run.ports.blobs, BlobRef.model_validate(file["blob"]), run.folder / "file")
    return await asyncio.to_thread(_write, lines, run.folder / "file", rows)


async def _check_items(coders: Coders, tenant: str, schema: dict[str, Any], file: Path) -> None:
    """Refuse a file with a row that does not fit; raises CannotRunError."""
    try:
        misfit = await coders.misfit(tenant, schema, file, SCHEMA_SECONDS)
    except TooCostlyError:
        sentence = "The eval's item_schema takes too long to be checked. Make it simpler."
        raise CannotRunError("schema_too_costly", sentence) from None
    if misfit is not None:
        raise core.misfit_error(misfit)


async def _stored(run: Run, view: View, source: dict[str, Any], labels: dict[str, str] | None) -> bytes:
    """Return stored chats or responses as rows, the same in every attempt; raises CannotRunError."""
    blobs, key = run.ports.blobs, f"{view['tenant']}/{run.id}/rows.jsonl"
    with suppress(BlobNotFoundError):
        return await blobs.get(key)
    what = "responses" if source["type"] == "responses" else "chats"
    found, size = list[bytes](), 0
    async for stored in _oldest_first(
        run.ports.documents, {"tenant": view["tenant"], **core.stored_where(source, labels, view["created_at"])}
    ):
        try:
            content = msgspec.json.decode(await blobs.get(stored["blob"]["key"]))
        except BlobNotFoundError:  # deleted at this moment
            continue
        if not core.is_asked_for(source, content):
            continue
        found.append(msgspec.json.encode(core.stored_row(stored["id"], content, stored["metadata"])))
        size += len(found[-1])
        if len(found[-1]) > MAX_ROW:
            raise CannotRunError(
                "row_too_large", f"Of the stored {what}, {stored['id']} has more than {MAX_ROW} bytes."
            )
        if len(found) > MAX_ROWS or size > MAX_BYTES:
            sentence = f"A run grades at most {MAX_ROWS} stored {what} of at most {MAX_BYTES} bytes. Set a 'limit'."
            raise CannotRunError("too_many_rows", sentence)
        if len(found) == source.get("limit"):
            break
    if not found:
        raise CannotRunError("no_rows", f"None of the stored {what} is what the source asks for.")
    with suppress(BlobExistsError):
        await blobs.put(key, b"\n".join(found), "application/jsonl", exclusive=True)
    return await blobs.get(key)


async def _oldest_first(documents: Documents, where: dict[str, Any]) -> AsyncIterator[View]:
    """Yield what is stored, few views at a time."""
    filters = [where]
    while found := await documents.find("completions", {"$and": filters}, [("created_at", 1), ("id", 1)], _WINDOW):
        for each in found:
            yield each
        at, id = found[-1]["created_at"], found[-1]["id"]
        filters = [where, {"$or": [{"created_at": {"$gt": at}}, {"created_at": at, "id": {"$gt": id}}]}]


def _write(lines: Sequence[bytes] | None, file: Path, rows: Path) -> int:
    count = 0
    with rows.open("w", encoding="utf-8") as output:
        for row in core.rows_of(lines if lines is not None else _lines(file)):
            output.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def _lines(file: Path) -> Iterator[bytes]:
    """Yield a file's lines, of which one that is too long comes as its beginning."""
    with file.open("rb") as content:
        while line := content.readline(MAX_ROW + 2):
            yield line.removeprefix(b"\xef\xbb\xbf")


def _parts(rows: Path) -> Iterator[list[Row]]:
    with rows.open("rb") as content:
        while part := [json.loads(line) for line in islice(content, PART)]:
            yield part


def _encoded(items: Sequence[core.Item]) -> bytes:
    return b"".join(msgspec.json.encode(each) + b"\n" for each in items)


async def _recorded(run: Run, number: int) -> list[core.Item] | None:
    try:
        content = await run.ports.blobs.get(run.part(number))
    except BlobNotFoundError:
        return None
    return await asyncio.to_thread(lambda: [json.loads(line) for line in content.splitlines()])


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the ending of a run that failed too often."""
    text = f"The run could not be done, for a reason of the platform's own: {why}. Create it again."
    return [event_of(claim.control, core.failed("run_failed", text), claim.subject, "end")]
