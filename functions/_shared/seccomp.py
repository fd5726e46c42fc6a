"""Takes system calls from this process and all that it starts, by the kernel's filter (seccomp); no way leads back."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from collections.abc import Sequence

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2
_IO_URING_SETUP = 425
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""Machine → its number in audit(7) and that of socket(2)."""
_X32 = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EACCES, 0x80000000
_CALCULATING = {
    "x86_64": (
        0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 28, 35, 39, 60, 96, 98, 131, 186, 201, 202, 219, 228, 229,
        230, 231, 318, 334,
    ),
    "aarch64": (
        57, 62, 63, 64, 80, 93, 94, 98, 101, 113, 114, 115, 124, 128, 132, 134, 135, 139, 165, 169, 172, 178, 214, 215,
        216, 222, 226, 233, 278, 293,
    ),
}  # fmt: skip
"""Machine → read, write, close, fstat, lseek, mmap, mprotect, munmap, brk, mremap, madvise, handlers and masks of
signals, futex, clocks, sleeps, getpid, gettid, getrusage, getrandom, sched_yield, rseq and exits: nothing that has a
name, and nothing that reaches another process."""
_Instruction = tuple[int, int, int, int]
"""Code, skip if true, skip if false, operand."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def refuse_sockets() -> bool:
    """Refuse every new socket; return whether the kernel can."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    architecture, socket = machine
    return _enforced([
        *_of(architecture),
        (_EQUAL, 3, 0, socket),
        (_EQUAL, 2, 0, _IO_URING_SETUP),  # it can open sockets, too
        (_AT_LEAST, 1, 0, _X32),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ])  # fmt: skip


def allow_only() -> bool:
    """Refuse all but calculation with memory and what is open already; return whether the kernel can.

    Only the calling thread is held: there must be no other one.
    """
    machine, calls = _MACHINES.get(platform.machine()), _CALCULATING.get(platform.machine(), ())
    if machine is None:
        return False
    left = range(len(calls), 0, -1)
    allowed = [(_EQUAL, skip, 0, call) for skip, call in zip(left, calls, strict=True)]
    return _enforced([*_of(machine[0]), *allowed, (_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)])


def _of(architecture: int) -> list[_Instruction]:
    """Return what loads the number of a call of this machine, and ends the process for one of another."""
    return [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
    ]


def _enforced(instructions: Sequence[_Instruction]) -> bool:
    if sys.platform != "linux":
        return False
    code = b"".join(struct.pack("HBBI", *each) for each in instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    program = ctypes.byref(_Program(len(instructions), code))
    return bool(libc.prctl(_PR_SET_SECCOMP, _FILTER, program, 0, 0) == 0)
