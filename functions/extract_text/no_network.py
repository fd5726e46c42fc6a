"""Takes the network from this process and all that it starts; there is no way back."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from typing import Any

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2
_IO_URING_SETUP = 425
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""Machine → its number in audit(7) and that of socket(2)."""
_X32 = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EACCES, 0x80000000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def give_up_network() -> None:
    """Refuse every new socket from now on: by the kernel (seccomp) where it can, and by Python everywhere."""
    sys.addaudithook(_refuse)
    machine = _MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None:
        return
    architecture, socket = machine
    instructions = (  # code, skip if true, skip if false, operand
        (_LOAD, 0, 0, 4),  # the machine that the call is made for
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),  # the call's number
        (_EQUAL, 3, 0, socket),
        (_EQUAL, 2, 0, _IO_URING_SETUP),  # it can open sockets, too
        (_AT_LEAST, 1, 0, _X32),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    )
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # A kernel without seccomp leaves the audit hook.
    libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(_Program(len(instructions), code)), 0, 0)


def _refuse(event: str, _: Any) -> None:
    if event in ("socket.__new__", "socket.getaddrinfo", "socket.gethostbyname"):
        raise PermissionError(errno.EACCES, "documents are read without a network")
