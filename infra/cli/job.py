"""`temper job`."""

import asyncio
import time
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from contracts.ports import UnavailableError
from infra.local.errors import UserError
from infra.runtime.world import World, world
from infra.settings import Settings

LOOK_SECONDS = 0.5


@click.group()
def job() -> None:
    """Look at fine-tuning jobs."""


@job.command()
@click.argument("job_id")
def watch(job_id: str) -> None:
    """Follow one job until it ends: state, steps, loss, time left.

    Exit status 0 when it succeeded, 1 when it failed, was cancelled or does not exist.
    """
    status = asyncio.run(_watch(job_id))
    raise SystemExit(0 if status == "succeeded" else 1)


async def _watch(job_id: str) -> str:
    columns = (
        TextColumn("{task.fields[status]:<16}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.fields[steps]}"),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    console = Console()
    async with world(Settings()) as here:
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("", total=None, status="…", steps="?", loss="", left="")
            while True:
                view, last = await _look(here, job_id)
                total = view["plan"]["total_steps"] if view["plan"] else None
                progress.update(
                    bar,
                    total=total,
                    completed=last["step"] if last else 0,
                    status=view["status"],
                    steps=str(total or "?"),
                    loss=f"loss {last['data']['train_loss']:.3f}" if last else "",
                    left=_left(view, last),
                )
                if view["ended"]:
                    break
                await asyncio.sleep(LOOK_SECONDS)
        console.print(_ending(view), soft_wrap=True, highlight=False)
        return str(view["status"])


async def _look(here: World, job_id: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    try:
        view = await here.documents.get("jobs", job_id)
        if view is None:
            raise UserError(f"There is no job {job_id}. `temper replay print --topic job.created` lists all.")
        lines = await here.documents.find("job_events", {"job": job_id, "type": "metrics"}, [("sort", -1)], 1)
    except UnavailableError as error:
        raise UserError(f"{error}. Is the stack up? `temper status` tells.") from error
    return view, lines[0] if lines else None


def _left(view: dict[str, Any], last: dict[str, Any] | None) -> str:
    if view["delay"]:
        return str(view["delay"]["message"])
    if not view["runs"] or view["status"] != "running" or not view["plan"]:
        return ""
    run = view["runs"][-1]
    done, total = (last["step"] if last else 0), view["plan"]["total_steps"]
    if done <= run["from_step"]:
        return f"about {view['plan']['seconds'] * (1 - done / total):.0f} s left"
    spent = time.time() - run["at"] / 1000
    return f"about {spent / (done - run['from_step']) * (total - done):.0f} s left"


def _ending(view: dict[str, Any]) -> str:
    if view["succeeded"]:
        return f"{view['id']} succeeded: {view['succeeded']['fine_tuned_model']}"
    if view["failed"]:
        return f"{view['id']} failed: {view['failed']['code']}: {view['failed']['message']}"
    return f"{view['id']} was cancelled"
