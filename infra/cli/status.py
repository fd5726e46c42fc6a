"""`temper status`."""

import asyncio
from pathlib import Path

import click
import httpx
from rich.console import Console
from rich.table import Table

from infra.local.health import http_ok, kafka_ok, mongo_ok
from infra.local.record import RunningProcess, running_stack
from infra.settings import AskedSettings

COLOURS = {"answers": "green", "starting": "yellow", "silent": "red", "dead": "red", "elsewhere": "cyan"}
WHOLE_WITHIN = 10.0
"""Seconds for the edge to ask everything."""
PIPE_WIDTH = 120
"""Columns when the output is no terminal."""


@click.command()
def status() -> None:
    """Show what runs, where, and whether it answers.

    Below it stands what the edge says of itself and of the rest (`GET /readyz`, `GET /status`). Exit status 1 when
    something does not answer or the API cannot serve; work that rests is no failure.
    """
    home = AskedSettings().home.absolute()
    stack = running_stack(home)
    health = asyncio.run(ask_all(stack.processes))
    table = Table("what", "pid", "port", "health", "restarts", "log", "address")
    for name, process in stack.processes.items():
        found, log = health[name], Path(process.log).relative_to(home) if process.log else ""
        numbers = (str(process.pid or ""), str(process.port or ""))
        coloured = f"[{COLOURS[found]}]{found}[/]"
        table.add_row(name, *numbers, coloured, str(process.restarts), str(log), process.address)
    console = Console()
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(f"{stack.state}, pid {stack.pid}, in {home}", highlight=False, soft_wrap=True)
    console.print(table)
    ready = True
    if health.get("edge") == "answers":
        said = httpx.get(f"{stack.processes['edge'].address}/status", timeout=WHOLE_WITHIN, trust_env=False).json()
        ready = said["status"] != "unready"
        console.print(f"the API is {said['status']}", *said["reasons"], sep="\n  ", highlight=False, soft_wrap=True)
    if not ready or any(found in ("silent", "dead") for found in health.values()):
        raise SystemExit(1)


async def ask_all(processes: dict[str, RunningProcess]) -> dict[str, str]:
    """Ask each process at the same time."""
    found = await asyncio.gather(*(ask(name, process) for name, process in processes.items()))
    return dict(zip(processes, found, strict=True))


async def ask(name: str, process: RunningProcess) -> str:
    """`answers`, `starting`, `silent` (it runs and does not answer), `dead`, or `elsewhere` (not ours to ask)."""
    if process.state == "elsewhere":
        return "elsewhere"
    if not process.alive():
        return "dead"
    match name:
        case "kafka":
            ok = await kafka_ok(process.address)
        case "mongo":
            ok = await mongo_ok(process.address)
        case _:
            ok = await http_ok(name, process.address)
    return "answers" if ok else "starting" if process.state == "starting" else "silent"
