"""Starts programs, waits until they answer, starts them again when they die, and takes them all down."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from infra.local.child import LocalProcess, Program, ending, spawn, tail
from infra.local.errors import UserError
from infra.local.record import RunningProcess, born

ASK_EVERY = 0.05
BACKOFF_MIN = 0.5
BACKOFF_MAX = 30.0
STEADY_AFTER = 60.0
"""Seconds of life after which an earlier death no longer counts."""


def backoff(deaths: int) -> float:
    """Seconds before the next start, after so many deaths in a row: 0.5, 1, 2 … 30."""
    return min(BACKOFF_MAX, BACKOFF_MIN * 2.0 ** min(deaths - 1, 10))


class Supervisor:
    """The programs of one stack."""

    def __init__(self, logs: Path, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        """`say` tells people; `changed` is called whenever `running` has changed."""
        self.logs = logs
        self.say = say
        self.changed = changed
        self.running: dict[str, RunningProcess] = {}
        self.children: dict[str, LocalProcess] = {}
        self.watchers: dict[str, asyncio.Task[None]] = {}

    async def start(self, program: Program) -> None:
        """Start a program, wait until it answers, and watch over it from then on.

        Raises `UserError` with the end of its log when it dies or stays silent.
        """
        began = time.monotonic()
        await self.spawn(program)
        await self.until_healthy(program)
        self.note(program.name, state="up")
        self.say(f"{program.name:<8} ready in {time.monotonic() - began:5.1f} s   {program.address}")
        self.watchers[program.name] = asyncio.create_task(self.watch(program), name=f"watch {program.name}")

    async def spawn(self, program: Program) -> None:
        """Start a program and record it."""
        child = await spawn(program, self.logs / f"{program.name}.log")
        self.children[program.name] = child
        restarts = self.running[program.name].restarts if program.name in self.running else 0
        self.running[program.name] = RunningProcess(
            pid=child.pid,
            born=born(child.pid),
            address=program.address,
            port=program.port,
            log=str(child.log),
            state="starting",
            restarts=restarts,
        )
        self.changed()

    async def until_healthy(self, program: Program) -> None:
        """Return when the program answers."""
        child = self.children[program.name]
        until = time.monotonic() + program.patience
        while True:
            if child.process.returncode is not None:
                raise UserError(
                    f"{program.name} stopped while starting ({ending(child.process.returncode)}). "
                    f"Its log {child.log} ends:\n{tail(child.log)}"
                )
            if await program.healthy():
                return
            if time.monotonic() > until:
                raise UserError(
                    f"{program.name} did not answer within {program.patience:.0f} s. "
                    f"Its log {child.log} ends:\n{tail(child.log)}"
                )
            await asyncio.sleep(ASK_EVERY)

    async def watch(self, program: Program) -> None:
        """Start the program again each time it dies, after a growing pause."""
        deaths = 0
        while True:
            began = time.monotonic()
            code = await self.children[program.name].process.wait()
            deaths = 1 if time.monotonic() - began > STEADY_AFTER else deaths + 1
            pause = backoff(deaths)
            self.say(f"{program.name} died ({ending(code)}); starting it again in {pause:g} s")
            self.note(program.name, state="restarting", restarts=self.running[program.name].restarts + 1)
            await self.children[program.name].stop()  # what it had started
            await asyncio.sleep(pause)
            await self.spawn(program)
            try:
                await self.until_healthy(program)
            except UserError as error:
                self.say(str(error))
                await self.children[program.name].stop()
                continue
            self.note(program.name, state="up")
            self.say(f"{program.name:<8} runs again, pid {self.children[program.name].pid}")

    async def stop(self, *stages: tuple[str, ...]) -> None:
        """Stop the programs stage by stage, those of one stage together; nothing is started again."""
        for watcher in self.watchers.values():
            watcher.cancel()
        for watcher in self.watchers.values():
            with suppress(asyncio.CancelledError):
                await watcher
        for stage in stages:
            await asyncio.gather(*(self.stop_one(name) for name in stage if name in self.children))

    async def stop_one(self, name: str) -> None:
        """Stop one program and record it."""
        await self.children[name].stop()
        self.note(name, state="stopped", pid=None, born=None)

    def note(self, name: str, **change: object) -> None:
        """Record a change of one program."""
        self.running[name] = self.running[name].model_copy(update=change)
        self.changed()
