"""Children: they die with their parent, come back when they die, and stop when told. All processes are real."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from infra.children.launch import __file__ as launcher
from infra.local.child import Program, ending, spawn, tail
from infra.local.errors import UserError
from infra.local.stack import together
from infra.local.supervisor import Supervisor, backoff

WITHIN = 20.0


def wait_until(true: Callable[[], bool]) -> None:
    """Return when something holds; fail after a while."""
    until = time.monotonic() + WITHIN
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.01)


async def wait_for(true: Callable[[], bool]) -> None:
    """The same, without blocking the loop."""
    async with asyncio.timeout(WITHIN):
        while not true():
            await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether no such process runs (a zombie is gone)."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def shell(folder: Path, script: str, *, stop_within: float = 10.0, patience: float = 10.0) -> Program:
    """A shell script that is healthy once it has written its pid to `pid`."""

    async def healthy() -> bool:
        return (folder / "pid").exists()

    return Program(
        name="script",
        argv=["sh", "-c", f"cd '{folder}'; {script}"],
        env={"PATH": os.environ["PATH"]},
        address="nowhere",
        port=1,
        healthy=healthy,
        patience=patience,
        stop_within=stop_within,
    )


@asynccontextmanager
async def supervised(folder: Path) -> AsyncIterator[tuple[Supervisor, list[str]]]:
    """A supervisor and what it says; whatever it started is stopped at the end."""
    said: list[str] = []
    supervisor = Supervisor(folder / "logs", said.append, lambda: None)
    try:
        yield supervisor, said
    finally:
        await supervisor.stop(("script",))


PARENT = """
import asyncio, pathlib, sys
from infra.local.child import Program, spawn
async def main():
    program = Program("child", ["sleep", "600"], {"PATH": "/usr/bin:/bin"}, "", 1, None)
    print((await spawn(program, pathlib.Path(sys.argv[1]) / "log")).pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_child_dies_with_its_parent_even_on_kill_9(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not gone(child)
        parent.kill()
    wait_until(lambda: gone(child))


def test_a_child_whose_parent_died_before_it_looked_does_not_start(tmp_path: Path) -> None:
    not_our_pid = str(os.getppid())
    command = [sys.executable, "-IS", launcher, not_our_pid, "0", "touch", str(tmp_path / "started")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the parent is gone" in done.stderr
    assert not (tmp_path / "started").exists()


async def test_a_program_that_dies_is_started_again_and_that_is_said(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (supervisor, said):
        await supervisor.start(shell(tmp_path, "echo $$ > pid; exec sleep 600"))
        first = supervisor.children["script"].pid
        os.kill(first, signal.SIGKILL)
        await wait_for(lambda: any("runs again" in line for line in said))
        second = supervisor.running["script"]
        assert second.pid != first
        assert second.restarts == 1
        assert second.state == "up"
        assert second.alive()
        assert any("script died (killed by SIGKILL); starting it again in 0.5 s" in line for line in said)


async def test_a_program_that_dies_at_its_start_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (supervisor, _):
        with pytest.raises(UserError, match=r"(?s)script stopped while starting \(exit status 7\).*the reason"):
            await supervisor.start(shell(tmp_path, "echo the reason; exit 7"))


async def test_a_program_that_stays_silent_is_an_error(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (supervisor, _):
        with pytest.raises(UserError, match=r"script did not answer within 0 s"):
            await supervisor.start(shell(tmp_path, "exec sleep 600", patience=0.2))


async def test_a_program_that_ignores_sigterm_is_killed_with_what_it_started(tmp_path: Path) -> None:
    script = "trap '' TERM; sleep 600 & echo $! > grandchild; echo $$ > pid; wait"
    async with supervised(tmp_path) as (supervisor, _):
        await supervisor.start(shell(tmp_path, script, stop_within=0.2))
        child, grandchild = supervisor.children["script"].pid, int((tmp_path / "grandchild").read_text())
        await supervisor.stop(("script",))
        assert gone(child)
        await wait_for(lambda: gone(grandchild))
        assert supervisor.running["script"].state == "stopped"


async def test_a_stopped_program_is_not_started_again(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (supervisor, said):
        await supervisor.start(shell(tmp_path, "echo $$ > pid; exec sleep 600"))
        await supervisor.stop(("script",))
        assert not any("again" in line for line in said)
        assert supervisor.watchers["script"].cancelled()


async def test_output_goes_to_the_log(tmp_path: Path) -> None:
    child = await spawn(shell(tmp_path, "echo out; echo err >&2"), tmp_path / "logs" / "script.log")
    assert await child.process.wait() == 0
    assert sorted(tail(child.log).split()) == ["err", "out"]


async def test_the_first_error_that_a_person_can_put_right_ends_the_others() -> None:
    async def fails() -> None:
        raise UserError("the reason")

    others = asyncio.create_task(asyncio.sleep(600))

    async def waits() -> None:
        await others

    with pytest.raises(UserError, match="the reason"):
        await together(waits(), fails())
    assert others.cancelled()


def test_the_pause_before_a_start_grows_to_half_a_minute() -> None:
    assert [backoff(deaths) for deaths in (1, 2, 3, 7, 50)] == [0.5, 1, 2, 30, 30]


def test_an_ending_is_told_in_words() -> None:
    assert ending(-9) == "killed by SIGKILL"
    assert ending(3) == "exit status 3"
