"""Children as the roles run them: forks of processes that have imported their libraries, which outlive a test."""

from __future__ import annotations

import atexit
import socket
import subprocess
import sys

from infra.children.child import ProcessChild
from infra.children.forked import ForkServer
from infra.children.launch import launching
from infra.runtime.functions import declared, preloads

FORKED = preloads(declared().values())
SERVERS: dict[tuple[str, int], LastingServer] = {}


class LastingServer(ForkServer):
    """A process that forks for one test after the other, whatever event loop each of them has: none is waited on."""

    def __init__(self, preload: str, environment: dict[str, str], line_bytes: int) -> None:
        super().__init__(preload, environment, line_bytes)
        self._running: subprocess.Popen[bytes] | None = None
        atexit.register(self._end)

    @property
    def pid(self) -> int | None:
        """Of the process, where it runs."""
        return None if self._running is None else self._running.pid

    async def _serving(self) -> socket.socket:
        if self._orders is not None and self._running is not None and self._running.poll() is None:
            return self._orders
        return self._begin()

    async def close(self) -> None:
        self._end()

    def _begin(self) -> socket.socket:
        self._end()
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            self._running = subprocess.Popen(
                [*launching(), sys.executable, "-P", "-m", "infra.children.fork_server"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=self._environment,
                cwd=self._environment["HOME"],
                start_new_session=True,
            )
        return self._orders

    def _end(self) -> None:
        if self._orders is not None and self._running is not None:
            self._orders.close()
            self._running.wait()
            self._orders = self._running = None


class ForkedChild(ProcessChild):
    """`ProcessChild` as a role has it, with the processes that fork of all tests of this run's worker."""

    def __init__(self, threads: int = 0) -> None:
        super().__init__(threads, FORKED)

    def _server(self, preload: str) -> ForkServer:
        key = preload, self._threads
        if key not in SERVERS:
            made = super()._server(preload)
            SERVERS[key] = LastingServer(preload, made._environment, made._limit)
        return SERVERS[key]
