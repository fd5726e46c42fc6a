"""Takes the network from this process and all that it starts; there is no way back."""

from __future__ import annotations

import errno
import sys
from typing import Any

from functions._shared.seccomp import refuse_sockets


def give_up_network() -> None:
    """Refuse every new socket from now on: by the kernel (seccomp) where it can, and by Python everywhere."""
    sys.addaudithook(_refuse)
    refuse_sockets()


def _refuse(event: str, _: Any) -> None:
    if event in ("socket.__new__", "socket.getaddrinfo", "socket.gethostbyname"):
        raise PermissionError(errno.EACCES, "documents are read without a network")
