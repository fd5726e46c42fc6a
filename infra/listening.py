"""The port that a role answers on."""

from __future__ import annotations

import os
import socket

from infra.local.ports import LOOPBACK

BACKLOG = 2048


class PortTakenError(Exception):
    """The port that a process was given can't be listened on."""


def listen(port: int, setting: str) -> socket.socket:
    """Return a socket that listens on a port of loopback, which `setting` names; raises PortTakenError.

    uvicorn would bind it when half of the process runs already, and exit from there without ending the rest.
    """
    try:
        return socket.create_server((LOOPBACK, port), backlog=BACKLOG)
    except OSError as error:
        raise PortTakenError(
            f"Port {port} of {LOOPBACK} can't be listened on: {os.strerror(error.errno or 0)}. "
            f"Stop the process that has it, or name another one with TEMPER_{setting.upper()}."
        ) from error
