"""One child process: started so that it dies with us, its output in a log file, stopped politely and then surely."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from infra.children.launch import launching

LOG_LIMIT = 10 * 2**20


@dataclass(frozen=True)
class Program:
    """What to run and how to know that it works."""

    name: str
    argv: list[str]
    env: dict[str, str]
    address: str
    """What a person would dial."""
    port: int
    healthy: Callable[[], Awaitable[bool]]
    """Whether it answers now; asked until it does."""
    patience: float = 60.0
    """Seconds until a start that does not answer has failed."""
    stop_within: float = 10.0
    """Seconds between SIGTERM and SIGKILL."""


@dataclass
class LocalProcess:
    """A running program."""

    program: Program
    process: asyncio.subprocess.Process
    log: Path
    born: float = field(default=0.0)

    @property
    def pid(self) -> int:
        """The process id (the launcher becomes the program, so it is the program's)."""
        return self.process.pid

    async def stop(self) -> None:
        """SIGTERM, a while, then SIGKILL to all that it started."""
        if self.process.returncode is None:
            send(self.pid, signal.SIGTERM)
            try:
                async with asyncio.timeout(self.program.stop_within):
                    await self.process.wait()
            except TimeoutError:
                kill_group(self.pid)
                await self.process.wait()
        kill_group(self.pid)  # what outlived it


async def spawn(program: Program, log: Path) -> LocalProcess:
    """Start a program, its output appended to the log, in a session of its own: Ctrl-C at the terminal is for us alone.

    Must run in the main thread: the kernel kills the child when the spawning *thread* ends.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *launching(),
            *program.argv,
            env=program.env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return LocalProcess(program, process, log)


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def kill_group(pid: int) -> None:
    """Kill a process's whole group, which may be gone."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def ending(returncode: int | None) -> str:
    """How a process ended, for people."""
    if returncode is None:
        return "still running"
    if returncode < 0:
        return f"killed by {signal.Signals(-returncode).name}"
    return f"exit status {returncode}"


def tail(log: Path, lines: int = 8) -> str:
    """The last lines of a log, indented; empty when there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        text = file.read().decode(errors="replace")
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
