"""Starts Python modules as forks of a process that has imported them: `python -m infra.children.fork_server`.

Its standard input is a Unix socket. A message is one line of JSON, an `Order`, with four file descriptors: the new
process's standard input, output and error, and a pipe on which its process id and, later, its exit status are told.
It ends with its parent, and by itself when nothing ran for a while. Its own thread never runs what a child would.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import sys
import time
import warnings
from contextlib import suppress

from setproctitle import setproctitle

from infra.children.launch import PR_SET_PDEATHSIG

IDLE_SECONDS = 300.0
"""What is imported takes memory; the next child waits for it anew."""
ORDER_BYTES = 64 * 1024
Order = dict[str, str]
"""`module`, the `argument` of its command line, the modules to `preload` before it is forked (with commas between
them), the `memory` that it may take (bytes; 0: any), and its `home`."""


class Server:
    """The children that were asked for, and the pipes on which their ends are told."""

    def __init__(self, orders: socket.socket) -> None:
        self.orders = orders
        self.pipes: dict[int, int] = {}
        self.woken, wake = os.pipe()
        os.set_blocking(self.woken, False)
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake)

    def next_born(self) -> Order | None:
        """Fork whatever is ordered: returns an order in each new process, and None here when the work is over."""
        last = time.monotonic()
        while True:
            ready = select.select([self.orders.fileno(), self.woken], [], [], IDLE_SECONDS)[0]
            if self.pipes or ready:
                last = time.monotonic()
            elif time.monotonic() - last >= IDLE_SECONDS:
                return None
            if self.woken in ready:
                self._reap()
            if self.orders.fileno() in ready:
                data, fds, _, _ = socket.recv_fds(self.orders, ORDER_BYTES, 4)
                if not data:
                    return None
                order: Order = json.loads(data)
                if self._fork(order, fds):
                    return order

    def _reap(self) -> None:
        os.read(self.woken, 4096)
        for pid in list(self.pipes):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                _tell(self.pipes.pop(pid), os.waitstatus_to_exitcode(status), last=True)

    def _fork(self, order: Order, fds: list[int]) -> bool:
        """Whether this is the new process."""
        gc.disable()  # what is imported stays; looking for cycles in it takes a fifth of the time
        with suppress(Exception):  # the child will fail by itself, where it is heard
            for name in order["preload"].split(","):
                importlib.import_module(name)
        gc.freeze()  # what is shared stays shared: a collection in the child does not write to it
        parent = os.getpid()
        ready, leading = os.pipe()
        with warnings.catch_warnings():  # of threads of numpy and pyarrow, which are ready for a fork
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            os.close(ready)
            self._become(order, fds, parent)
            os.close(leading)
            return True
        os.close(leading)
        os.read(ready, 1)  # nothing: it leads its own group by now, so that whoever is told of it can end all of it
        for fd in (ready, *fds[:3]):
            os.close(fd)
        self.pipes[pid] = fds[3]
        _tell(fds[3], pid)
        return False

    def _become(self, order: Order, fds: list[int], parent: int) -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        os.setsid()
        gc.enable()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd, place in zip(fds, range(3), strict=False):
            os.dup2(fd, place)
        for fd in (*fds, self.orders.fileno(), self.woken, *self.pipes.values()):
            if fd > 2:
                os.close(fd)
        self.orders.detach()
        if memory := int(order["memory"]):
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        os.environ["HOME"] = order["home"]
        os.chdir(order["home"])


def _tell(fd: int, number: int, last: bool = False) -> None:
    with suppress(BrokenPipeError):
        os.write(fd, f"{number}\n".encode())
    if last:
        os.close(fd)


def main() -> None:
    """Serve; in a child: be the module that was ordered."""
    order = Server(socket.socket(fileno=os.dup(0))).next_born()
    if order is None:
        return
    sys.argv = [order["module"], order["argument"]]
    setproctitle(f"python -m {order['module']} {order['argument']}")
    sys.modules.pop(order["module"], None)  # it is run anew, as the main module
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
