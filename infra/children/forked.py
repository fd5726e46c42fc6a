"""Children that are forked from a process which has imported what they need."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from infra.children.fork_server import Order
from infra.children.launch import launching

_STREAMS = 3


class Process(Protocol):
    """What a child's parent does with it; asyncio's own `Process` is one."""

    stdin: asyncio.StreamWriter | None
    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader | None

    @property
    def pid(self) -> int:
        """Its process id, and its group's."""
        ...

    async def wait(self) -> int:
        """Wait for its end; the exit status, negative: the signal that ended it."""
        ...


class Forked:
    """A process that `infra.children.fork_server` made."""

    def __init__(
        self, server: ForkServer, pid: int, stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader,
        stderr: asyncio.StreamReader, told: asyncio.StreamReader, transports: Sequence[asyncio.ReadTransport],
    ) -> None:  # fmt: skip
        self.pid = pid
        self._server = server  # must not be forgotten, and ended, as long as this runs
        self.stdin: asyncio.StreamWriter | None = stdin
        self.stdout: asyncio.StreamReader | None = stdout
        self.stderr: asyncio.StreamReader | None = stderr
        self._transports = transports
        self._ended = asyncio.create_task(self._end(told))

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def close(self) -> None:
        """Read no more of it; what it has started may hold its output open."""
        for transport in self._transports:
            transport.close()

    async def _end(self, told: asyncio.StreamReader) -> int:
        line = await told.readline()
        # a server that is gone has taken it along
        code = int(line) if line else -signal.SIGKILL
        assert self.stdin is not None
        self.stdin.close()
        return code


class ForkServer:
    """The process that forks; it is started for the first child, and again when it has ended."""

    def __init__(self, preload: str, environment: dict[str, str], line_bytes: int) -> None:
        self._preload, self._environment, self._limit = preload, environment, line_bytes
        self._orders: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._one = asyncio.Lock()

    async def fork(self, module: str, argument: Path, memory_bytes: int) -> Forked:
        """Return the new process; raises RuntimeError when there is none."""
        order = {
            "module": module,
            "argument": str(argument),
            "preload": self._preload,
            "home": str(argument.parent),
            "memory": str(memory_bytes),
        }
        forking = asyncio.create_task(self._fork(order))
        try:
            return await asyncio.shield(forking)
        except asyncio.CancelledError:
            forking.add_done_callback(_kill)  # nobody else knows it
            raise

    async def _fork(self, order: Order) -> Forked:
        for _ in range(2):  # it ends by itself when it was idle, perhaps just now
            async with self._one:
                orders = await self._serving()
            if (process := await self._ask(orders, order)) is not None:
                return process
            async with self._one:
                if self._orders is orders:  # gone, though nobody has been told yet; another may be there already
                    await self.close()
        raise RuntimeError(f"the fork server ended when it was asked for {order['module']}")

    async def close(self) -> None:
        """End it, and with it what it has forked."""
        if self._orders is not None and self._process is not None:
            self._orders.close()
            await self._process.wait()
            self._orders = self._process = None

    async def _serving(self) -> socket.socket:
        if self._orders is not None and self._process is not None and self._process.returncode is None:
            return self._orders
        await self.close()
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *launching(),
                sys.executable,
                "-P",
                "-m",
                "infra.children.fork_server",
                stdin=theirs.fileno(),
                stdout=asyncio.subprocess.DEVNULL,
                env=self._environment,
                cwd=self._environment["HOME"],
                start_new_session=True,
            )
        return self._orders

    async def _ask(self, orders: socket.socket, order: Order) -> Forked | None:
        pipes = [os.pipe() for _ in range(_STREAMS + 1)]
        theirs = [pipes[0][0], *(write for _, write in pipes[1:])]
        ours = [pipes[0][1], *(read for read, _ in pipes[1:])]
        try:
            socket.send_fds(orders, [json.dumps(order).encode() + b"\n"], theirs)
        except OSError:
            for fd in ours:
                os.close(fd)
            return None
        finally:
            for fd in theirs:
                os.close(fd)
        stdin = await _writer(os.fdopen(ours[0], "wb", buffering=0))
        readers = [await _reader(os.fdopen(fd, "rb", buffering=0), self._limit) for fd in ours[1:]]
        (stdout, _), (stderr, _), (told, _) = readers
        transports = [transport for _, transport in readers]
        line = await told.readline()
        if not line:
            stdin.close()
            for transport in transports:
                transport.close()
            return None
        return Forked(self, int(line), stdin, stdout, stderr, told, transports)


def _kill(forking: asyncio.Task[Forked]) -> None:
    if not forking.cancelled() and forking.exception() is None:
        with suppress(ProcessLookupError):
            os.killpg(forking.result().pid, signal.SIGKILL)
        forking.result().close()


async def _reader(pipe: IO[bytes], limit: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    reader = asyncio.StreamReader(limit=limit)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader, transport


async def _writer(pipe: IO[bytes]) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), pipe
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)
