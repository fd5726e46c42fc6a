"""A process that gave up the network gets no socket, from Python or from the kernel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import functions

ROOT = Path(functions.__file__).parents[1]


def after_giving_up(code: str) -> str:
    """Return what `code` prints in a process without a network."""
    start = "from functions.extract_text.no_network import give_up_network; give_up_network()\n"
    done = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, cwd=ROOT, check=True)
    return done.stdout.strip()


def test_python_opens_no_socket_and_resolves_no_name() -> None:
    code = """
import socket
for attempt in (lambda: socket.socket(), lambda: socket.getaddrinfo("localhost", 80)):
    try:
        attempt()
    except PermissionError:
        print("refused")
"""
    assert after_giving_up(code).split() == ["refused", "refused"]


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
def test_the_kernel_refuses_native_code_and_programs_that_are_started() -> None:
    code = """
import ctypes, errno, subprocess, sys
native = '''
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
print(libc.socket(2, 1, 0), errno.errorcode[ctypes.get_errno()], libc.getpid() > 0)
'''
exec(native)
print(subprocess.run([sys.executable, "-c", native], capture_output=True, text=True).stdout, end="")
"""
    assert after_giving_up(code).splitlines() == ["-1 EACCES True"] * 2
