"""The port that a role answers on."""

from __future__ import annotations

import errno
import os
import socket

from pydantic.networks import IPvAnyAddressType

BACKLOG = 2048


class PortTakenError(Exception):
    """The port that a process was given can't be listened on."""


def listen(bind: IPvAnyAddressType, port: int, setting: str) -> socket.socket:
    """Return a socket that listens on a port, which `setting` names; `::` means IPv4 too; raises PortTakenError.

    uvicorn would bind it when half of the process runs already, and exit from there without ending the rest.
    """
    family = socket.AF_INET6 if bind.version == 6 else socket.AF_INET
    both = bind.version == 6 and bind.is_unspecified and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((str(bind), port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        foreign = error.errno == errno.EADDRNOTAVAIL
        do = "Set TEMPER_BIND to an address of" if foreign else "Stop the process that has it, or name another one with"
        named = "this machine" if foreign else f"TEMPER_{setting.upper()}"
        raise PortTakenError(
            f"Port {port} of {bind} can't be listened on: {os.strerror(error.errno or 0)}. {do} {named}."
        ) from error
