"""Python modules in processes of their own: a bare environment, limits, and an end together with the parent."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import contracts
from contracts.ports import ChildResult
from infra.children.forked import Forked, ForkServer, Process
from infra.children.launch import launching
from infra.children.quiet import QUIET

LINE_BYTES = 16 * 2**20
"""A longer line of output is an error, and so is more output of a short-lived child."""
_TAIL_BYTES = 8 * 1024
_EXIT_SECONDS = 10.0
_ROOT = Path(contracts.__file__).parents[1]
_NOBODYS = Path("/")
"""Where a process that forks stands: no other user of the machine can put there what it would import or read."""
_KEPT = ("PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")


class ChildOutputError(Exception):
    """A child printed what is not a JSON line, or too much."""


class ProcessChild:
    """The `Child` port on subprocesses; `threads` are OpenMP's (0: the library's choice).

    `forked` names modules, and another for each: they are forked from a process that has imported the other one, which
    saves the seconds that torch and what stands on it take at every start. Not where a GPU is: CUDA does not
    outlive a fork, and what a library touches when it is imported is not ours to know.
    Must be used from the main thread's event loop: a child ends when the thread that started it does.
    """

    def __init__(self, threads: int = 0, forked: Mapping[str, str] | None = None) -> None:
        self._threads = threads
        self._forked = {} if Path("/dev/nvidiactl").exists() else dict(forked or {})
        self._servers: dict[str, ForkServer] = {}

    async def run(self, module: str, argument: Path, memory_bytes: int = 0, seconds: float = 0) -> ChildResult:
        """Run `python -m module argument` to its end; one that takes longer than `seconds` is killed (code -9).

        Raises ChildOutputError when it prints more than 16 MiB.
        """
        process = await self._spawn(module, argument, memory_bytes)
        tail = _Tail()
        reading = asyncio.gather(_read_all(process), tail.follow(process))
        try:
            async with asyncio.timeout(seconds or None):
                stdout, _ = await reading
                code = await process.wait()
        except TimeoutError:
            stdout, code = b"", await _end(process)
            tail.add(f"\nkilled after {seconds:g} s".encode())
        finally:
            reading.cancel()
            await _end(process)
            _close(process)
        return ChildResult(code=code, stdout=stdout, stderr=tail.text())

    def start(self, module: str, argument: Path) -> RunningChild:
        """Start `python -m module argument`, speaking JSON lines."""
        return RunningChild(asyncio.create_task(self._spawn(module, argument, 0)))

    async def close(self) -> None:
        """End the processes that fork, and with them what they have forked."""
        for server in self._servers.values():
            await server.close()

    async def _spawn(self, module: str, argument: Path, memory_bytes: int) -> Process:
        if preload := self._forked.get(module):
            return await self._server(preload).fork(module, argument, memory_bytes)
        return await asyncio.create_subprocess_exec(
            *launching(memory_bytes),
            sys.executable,
            "-m",
            module,
            str(argument),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment(argument.parent),
            cwd=argument.parent,
            limit=LINE_BYTES,
            start_new_session=True,
        )

    def _server(self, preload: str) -> ForkServer:
        return self._servers.setdefault(preload, ForkServer(preload, self._environment(_NOBODYS), LINE_BYTES))

    def _environment(self, home: Path) -> dict[str, str]:
        """Name what may be passed on; secrets are not among it."""
        env = {name: os.environ[name] for name in _KEPT if name in os.environ} | QUIET
        env |= {"LANG": "C.UTF-8", "PYTHONPATH": str(_ROOT)}
        env["HOME"] = str(home)
        if self._threads:
            env["OMP_NUM_THREADS"] = str(self._threads)
        return env


class RunningChild:
    """The `Running` port: one child at work."""

    def __init__(self, spawning: asyncio.Task[Process]) -> None:
        self._spawning = spawning
        self._tail = _Tail()
        self._following: asyncio.Task[None] | None = None

    async def lines(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the JSON objects that it prints, until it has ended; raises ChildOutputError."""
        process = await self._process()
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError as error:
                raise ChildOutputError(f"a line of output is longer than {LINE_BYTES} bytes") from error
            if not line:
                break
            yield _json_object(line)
        with suppress(TimeoutError):  # it closed its output; let it end by itself
            async with asyncio.timeout(_EXIT_SECONDS):
                await process.wait()

    async def say(self, line: str) -> None:
        """Write a line to its standard input; one that has ended hears nothing, and `lines` tells of its end."""
        process = await self._process()
        assert process.stdin is not None
        with suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(f"{line}\n".encode())
            await process.stdin.drain()

    async def stop(self) -> int:
        """Kill it and all that it started, reap it and return its exit status (its own, when it had ended)."""
        process = await self._process()
        code = await _end(process)
        if self._following is not None:
            await self._following
        _close(process)
        return code

    def stderr(self) -> str:
        """Return the last 8 KiB that it wrote to standard error."""
        return self._tail.text()

    async def _process(self) -> Process:
        process = await asyncio.shield(self._spawning)
        if self._following is None:
            self._following = asyncio.create_task(self._tail.follow(process))
        return process


class _Tail:
    """The end of a stream."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, data: bytes) -> None:
        self._bytes += data
        del self._bytes[:-_TAIL_BYTES]

    async def follow(self, process: Process) -> None:
        assert process.stderr is not None
        while data := await process.stderr.read(65536):
            self.add(data)

    def text(self) -> str:
        return self._bytes.decode(errors="replace")


async def _read_all(process: Process) -> bytes:
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdin.close()
    output = bytearray()
    while data := await process.stdout.read(65536):
        output += data
        if len(output) > LINE_BYTES:
            raise ChildOutputError(f"a child printed more than {LINE_BYTES} bytes")
    return bytes(output)


async def _end(process: Process) -> int:
    """Kill the child's whole group and reap it, whatever happens to the caller."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return await asyncio.shield(process.wait())


def _close(process: Process) -> None:
    """Let go of its streams; asyncio does so for its own."""
    if isinstance(process, Forked):
        process.close()


def _json_object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ChildOutputError(f"a line of output is not JSON: {line[:200]!r}") from error
    if not isinstance(value, dict):
        raise ChildOutputError(f"a line of output is not a JSON object: {line[:200]!r}")
    return value
