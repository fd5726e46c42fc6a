"""What strangers wrote, in children with limits: graders' own code (see python_child), and schemas of rows."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from contracts.ports import Child, ChildResult
from functions._shared.child import OUT_OF_MEMORY
from functions._shared.grading import item_schema
from functions._shared.grading.graded import Graded, Values
from functions._shared.grading.item_schema import Misfit, TooCostlyError

CHILD = "functions._shared.grading.python_child"
MEMORY = 512 * 2**20
"""Of address space."""
SECONDS = 40.0
"""Longer than the calculation that the child gives itself."""
SCHEMA_CHILD = "functions._shared.grading.item_schema"
_SAID = 600


class NotConfinedError(Exception):
    """This machine cannot hold a stranger's code, so it was not run."""

    sentence = (
        "Python graders are not served on this machine: their code runs where the kernel refuses it files, network and "
        "processes (seccomp, on Linux for x86-64 and ARM), and this one cannot. Use another type of grader."
    )


class BusyError(Exception):
    """A tenant has enough code waiting."""


class BrokenCodeError(Exception):
    """The code is no grader; its text says why."""


async def run_code(child: Child, scratch: Path, source: str, rows: Sequence[Values]) -> list[Graded]:
    """Return what a grader's code says of each row; raises NotConfinedError, and BrokenCodeError without any rows."""
    result = await _run(child, CHILD, scratch, {"source": source, "rows": [dict(each) for each in rows]}, SECONDS)
    try:
        found = json.loads(result.stdout) if not result.code else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return _all(rows, _ended(result.code))
    if found.get("confined") is not True:
        raise NotConfinedError
    if (broken := found.get("broken")) is not None:
        return _all(rows, _clean(broken))
    scored = found.get("rows")
    if not isinstance(scored, list) or len(scored) != len(rows):
        return _all(rows, "The code ended the process that graded.")
    return [_graded(each) for each in scored]


async def _run(child: Child, module: str, scratch: Path, spec: Mapping[str, Any], seconds: float) -> ChildResult:
    folder = scratch / f"grader-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        path = folder / "spec.json"
        await asyncio.to_thread(path.write_text, json.dumps(spec), encoding="utf-8")
        return await child.run(module, path.resolve(), memory_bytes=MEMORY, seconds=seconds)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


class Coders:
    """Who runs strangers' code and schemas in one process: few at once, of each tenant one."""

    def __init__(self, child: Child, scratch: Path, at_once: int = 2, most: int = 16) -> None:
        self._child, self._scratch, self._most = child, scratch, most
        self._gate = asyncio.Semaphore(at_once)
        self.turns: dict[str, tuple[asyncio.Lock, int]] = {}
        """Tenant → who waits for whom, and how many there are."""

    async def run(self, tenant: str, source: str, rows: Sequence[Values]) -> list[Graded]:
        """Return what the code says of each row; raises BusyError, and as `run_code` does."""
        async with self._turn(tenant):
            return await run_code(self._child, self._scratch, source, rows)

    async def misfit(
        self, tenant: str, schema: Mapping[str, Any], rows: Sequence[Any] | Path, seconds: float
    ) -> Misfit | None:
        """Return what does not fit of items, or of a file's rows; raises BusyError and TooCostlyError."""
        file = rows if isinstance(rows, Path) else None
        if not isinstance(rows, Path) and item_schema.is_cheap(schema, rows):
            return item_schema.first_misfit(schema, enumerate(rows))
        spec = {"schema": schema, "items": None if file else rows, "file": str(file.resolve()) if file else None}
        async with self._turn(tenant):
            result = await _run(self._child, SCHEMA_CHILD, self._scratch, spec, seconds)
        if result.code:
            raise TooCostlyError
        found = json.loads(result.stdout)
        return None if found is None else Misfit(**found)

    @asynccontextmanager
    async def _turn(self, tenant: str) -> AsyncIterator[None]:
        """Wait until it is the tenant's turn; raises BusyError."""
        lock, before = self.turns.get(tenant) or (asyncio.Lock(), 0)
        if before > self._most:
            raise BusyError
        self.turns[tenant] = lock, before + 1
        try:
            async with lock, self._gate:
                yield
        finally:
            _, left = self.turns.pop(tenant)
            if left > 1:
                self.turns[tenant] = lock, left - 1


def _ended(code: int) -> str:
    if code == OUT_OF_MEMORY:
        return f"The code needs more than {MEMORY >> 20} MiB."
    return f"The code did not end as it should: it may calculate for 30 seconds and use {MEMORY >> 20} MiB."


def _all(rows: Sequence[Values], why: str) -> list[Graded]:
    if not rows:
        raise BrokenCodeError(why)
    return [_failed(why) for _ in rows]


def _failed(why: str) -> Graded:
    return Graded(error="python_grader_runtime_error", details=why)


def _graded(said: Any) -> Graded:
    """Return what was printed of one row: by the child, or by code that has taken its place."""
    score = said.get("score") if isinstance(said, dict) else None
    if type(score) is float and math.isfinite(score) and abs(score) <= 1e300:
        return Graded(score)
    return _failed(_clean(said.get("error") if isinstance(said, dict) else None))


def _clean(text: Any) -> str:
    """Return a text of a stranger's process, fit to be shown."""
    return str(text)[:_SAID].encode(errors="replace").decode() if text else "The code failed."
