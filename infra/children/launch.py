"""Runs a program that dies with its parent, within limits: `launch.py PARENT_PID MEMORY_BYTES PROGRAM [ARGUMENT…]`.

The kernel kills it when the parent's spawning thread ends, kill -9 included (Linux). 0 bytes: no limit of memory.
It stands alone, with no import from Temper, so that a start costs 20 ms; and it is a program and no hook, because no
code may run between fork and exec of a process with threads.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


def launching(memory_bytes: int = 0) -> list[str]:
    """Return what to put before a command so that the program dies with this process; 0: no limit of memory."""
    return [sys.executable, "-IS", __file__, str(os.getpid()), str(memory_bytes)]


def main() -> None:
    """Bind to the parent, take the limits, become the program."""
    parent, memory = int(sys.argv[1]), int(sys.argv[2])
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit("launch: the kernel refused PR_SET_PDEATHSIG")
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit("launch: the parent is gone")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    os.execvp(sys.argv[3], sys.argv[3:])


if __name__ == "__main__":
    main()
