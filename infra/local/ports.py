"""Which port a process gets: the usual one, the one it had, or a free one."""

import fcntl
import os
import random
import socket
import tempfile
from functools import cache
from ipaddress import ip_address
from pathlib import Path

from infra.local.errors import UserError

LOOPBACK, LOOPBACK_V6 = "127.0.0.1", "::1"
FREE_RANGE = (20_000, 32_000)  # below the system's range for outgoing connections, which would race with us
TRIES = 200


def http_address(bind: str, port: int) -> str:
    """The URL at which this machine reaches what listens there; what listens on every address is met on loopback."""
    address = ip_address(bind)
    if address.is_unspecified:
        address = ip_address(LOOPBACK if address.version == 4 else LOOPBACK_V6)
    return f"http://{address}:{port}" if address.version == 4 else f"http://[{address}]:{port}"


def is_free(port: int, bind: str = LOOPBACK) -> bool:
    """Whether a port can be bound on this address now (a socket in TIME_WAIT does not count as taken)."""
    with socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError:
            return False
        return True


def reserve(port: int) -> bool:
    """Keep a port for this process until it ends; False when another stack of this user was given it.

    Between the choice and the server's listening lie seconds, in which the port is free to see.
    """
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except (BlockingIOError, PermissionError):  # POSIX allows either
        return False
    return True


@cache
def _reservations() -> int:
    """A file in which each process locks one byte for each port; it is never closed, which would free them all."""
    path = Path(tempfile.gettempdir()) / f"temper-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


class LocalPorts:
    """Hands out ports that are free on loopback and on `bind`, none twice."""

    def __init__(self, remembered: dict[str, int], *, usual: bool, bind: str = LOOPBACK) -> None:
        """`remembered`: what each name had last time; `usual`: whether the usual ports are wanted at all."""
        self.remembered = remembered
        self.addresses = {LOOPBACK, bind}
        self.usual = usual
        self.given: dict[str, int] = {}

    def choose(self, name: str, usual: int, asked: int | None = None) -> int:
        """The asked port, else the one it had, else the usual one, else a free one.

        Raises `UserError` when the asked one is taken: whoever names a port means it.
        """
        if asked is not None:
            if not self.available(asked):
                raise UserError(
                    f"Port {asked}, asked for {name} by TEMPER_{name.upper()}_PORT, is taken by another process. "
                    f"Stop that process, or unset TEMPER_{name.upper()}_PORT to get a free port."
                )
            return self.give(name, asked)
        wanted = [self.remembered.get(name), usual if self.usual else None]
        for port in wanted:
            if port is not None and self.available(port):
                return self.give(name, port)
        return self.give(name, self.free())

    def available(self, port: int) -> bool:
        """Neither given to another name or stack nor bound by another process."""
        free = port not in self.given.values() and all(is_free(port, address) for address in self.addresses)
        return free and reserve(port)

    def free(self) -> int:
        """A random free port."""
        for _ in range(TRIES):
            port = random.randint(*FREE_RANGE)
            if self.available(port):
                return port
        raise UserError(
            f"No free port was found between {FREE_RANGE[0]} and {FREE_RANGE[1]} on {LOOPBACK}. "
            "Stop some processes, then try again."
        )

    def give(self, name: str, port: int) -> int:
        """Note that a name has this port."""
        self.given[name] = port
        return port
