"""`.temper/stack.json`: what runs in a home, for other commands and for the next `temper up`."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil
from pydantic import BaseModel

from infra.local.errors import UserError
from infra.local.files import write_private


class RunningProcess(BaseModel):
    """One process of the stack, or one server elsewhere that it uses."""

    pid: int | None = None
    """None: it runs elsewhere, or not now."""
    born: float | None = None
    """Start time of the pid as `born` tells it, because the system gives pids out again."""
    address: str
    port: int | None = None
    log: str | None = None
    state: Literal["elsewhere", "starting", "up", "restarting", "stopped"]
    restarts: int = 0

    def alive(self) -> bool:
        """Whether that very process runs."""
        return self.pid is not None and self.born is not None and is_running(self.pid, self.born)


class Stack(BaseModel):
    """The whole stack of a home."""

    state: Literal["starting", "ready", "stopping", "down"]
    pid: int
    born: float
    started_at: float
    settings: dict[str, str | int]
    """Addresses, under the names of `infra.settings.Settings`."""
    ports: dict[str, int]
    processes: dict[str, RunningProcess]

    def alive(self) -> bool:
        """Whether the `temper up` that wrote this runs."""
        return self.state != "down" and is_running(self.pid, self.born)


def stack_file(home: Path) -> Path:
    """Where the record of a home lies."""
    return home / "stack.json"


def read_stack(home: Path) -> Stack | None:
    """The record of a home; None when no stack ever ran there."""
    try:
        return Stack.model_validate_json(stack_file(home).read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(
            f"{stack_file(home)} cannot be read ({type(error).__name__}). "
            "Remove it; `temper up` writes a new one and keeps the data."
        ) from error


def write_stack(home: Path, stack: Stack) -> None:
    """Replace the record of a home."""
    write_private(stack_file(home), stack.model_dump_json(indent=2) + "\n")


def running_stack(home: Path) -> Stack:
    """The record of a stack that runs; `UserError` when none does."""
    stack = read_stack(home)
    if stack is None or not stack.alive():
        raise UserError(
            f"No stack is running in {home}. Start it with `temper up`, or name another home with TEMPER_HOME."
        )
    return stack


def born(pid: int) -> float:
    """When a process started, in seconds since a moment that stays; 0, when it is gone already.

    On Linux since the boot (proc_pid_stat(5)): psutil adds the boot's time of day, which changes as the clock is set.
    """
    with suppress(psutil.NoSuchProcess, OSError):
        if sys.platform != "linux":
            return psutil.Process(pid).create_time()
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        return int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return 0.0


def is_running(pid: int, since: float) -> bool:
    """Whether the process with this pid is the one that started then, and is no zombie."""
    try:
        return abs(born(pid) - since) < 1 and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
