"""Runs a program that dies with its parent: `launcher.py PARENT_PID PROGRAM [ARGUMENT…]`.

The kernel kills it when the parent's spawning thread ends, kill -9 included (Linux). It stands alone, without an import
from Temper, so that a start costs 20 ms.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Bind to the parent, then become the program."""
    parent = int(sys.argv[1])
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit("launcher: the kernel refused PR_SET_PDEATHSIG")
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit("launcher: the parent is gone")
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
