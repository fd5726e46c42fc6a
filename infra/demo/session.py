"""The stack that the demo uses, the stages of its story, and what is followed on the way."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from openai import OpenAI
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from infra.local.record import read_stack

_FOLLOW_SECONDS = 0.5
_COMES_WITHIN = 30.0
"""Seconds within which a job's benchmark is requested, where the stack makes any."""


class DemoError(Exception):
    """The demo could not go on; says why."""


@dataclass
class Stages:
    """What took how long."""

    console: Console
    seconds: list[tuple[str, float]] = field(default_factory=list)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Say what begins, and keep its time."""
        self.console.print(f"[bold]{name}[/]")
        began = time.monotonic()
        yield
        took = time.monotonic() - began
        self.seconds.append((name, took))
        self.console.print(f"  {took:.1f} s", style="dim")

    def show(self) -> None:
        """Print all stages with their times and the sum."""
        table = Table("stage", "seconds")
        for name, seconds in [*self.seconds, ("all", sum(seconds for _, seconds in self.seconds))]:
            table.add_row(name, f"{seconds:.1f}")
        self.console.print(table)


@contextlib.contextmanager
def running(home: Path, console: Console, settings: Mapping[str, str] | None = None) -> Iterator[tuple[str, str]]:
    """Join the stack of `home`, or start one and stop it afterwards; yields (base URL, API key).

    `settings` are environment variables of a stack that is started; what the caller's environment says goes before.
    """
    found = read_stack(home)
    mine = found is None or found.state != "ready" or not _alive(found.pid)
    env = {**(settings or {}), **os.environ, "TEMPER_HOME": str(home)}
    temper = [sys.executable, "-m", "infra.cli.main"]
    if mine:
        if subprocess.run([*temper, "up", "--detach"], env=env, check=False).returncode:
            raise DemoError("The stack did not start; what it said stands above.")
    else:
        console.print(f"  joining the stack that runs in {home}, with the settings that it has")
    try:
        said = subprocess.run([*temper, "env", "--json"], env=env, check=True, capture_output=True, text=True).stdout
        values = json.loads(said)
        yield values["OPENAI_BASE_URL"], values["OPENAI_API_KEY"]
    finally:
        if mine:
            subprocess.run([*temper, "down"], env=env, check=False, stdout=subprocess.DEVNULL)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def follow_data_set(client: OpenAI, file: str, console: Console) -> Any:
    """Follow an archive until it is a data set; returns its file or raises DemoError."""
    columns = (
        TextColumn("  {task.description:<18}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} documents  {task.fields[rows]} rows made"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=1, rows=0)
        while True:
            found: Any = client.files.retrieve(file)
            made = found.dataset
            read = made["documents"]["chunked"] + made["documents"]["rejected"]
            total = made["documents"]["total"] or 1
            progress.update(bar, description=made["stage"], completed=read, total=total, rows=made["rows_made"])
            if found.status != "uploaded":
                break
            time.sleep(_FOLLOW_SECONDS)
    if found.status != "processed":
        raise DemoError(f"No data set was made of {file}: {found.status_details}")
    return found


def follow_benchmark(client: OpenAI, job: str, folder: Path, console: Console) -> Path | None:
    """Follow the benchmark that comes after a job; prints its verdict and returns its report, None where none comes."""
    columns = (
        TextColumn("  {task.description:<12}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} answers"),
        TimeElapsedColumn(),
    )
    deadline = time.monotonic() + _COMES_WITHIN
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=1)
        while True:
            listed: Any = client.get(f"/fine_tuning/jobs/{job}/benchmarks", cast_to=object)
            found = next(iter(listed["data"]), None)
            if found is None and time.monotonic() > deadline:
                return None
            if found is not None:
                said = found["progress"]
                progress.update(bar, description=found["status"], completed=said["answered"], total=said["total"] or 1)
                if found["status"] not in ("queued", "running"):
                    break
            time.sleep(_FOLLOW_SECONDS)
    if found["status"] != "completed":
        raise DemoError(f"The benchmark {found['id']} is {found['status']}: {found['error']}")
    console.print(f"  {found['verdict'].replace('_', ' ')}: {found['sentence']}", highlight=False)
    path = folder / f"{found['id']}.html"
    page = client.get(found["report_url"].removeprefix("/v1"), cast_to=httpx.Response)
    path.write_bytes(page.content)
    return path


def follow_job(client: OpenAI, id: str, console: Console) -> Any:
    """Follow a job to its end; returns it or raises DemoError."""
    job = client.fine_tuning.jobs.retrieve(id)
    columns = (
        TextColumn("  {task.description:<16}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} steps  {task.fields[loss]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=1, loss="")
        while job.status not in ("succeeded", "failed", "cancelled"):
            time.sleep(_FOLLOW_SECONDS)
            job = client.fine_tuning.jobs.retrieve(job.id)
            progress.update(bar, description=job.status)
            for event in client.fine_tuning.jobs.list_events(job.id, limit=20).data:
                data: Any = event.data
                if event.type == "metrics" and data:
                    loss = f"loss {data['train_loss']:.3f}"
                    progress.update(bar, completed=data["step"], total=data["total_steps"], loss=loss)
                    break
    if job.status != "succeeded":
        why = f"{job.error.code}: {job.error.message}" if job.error else job.status
        raise DemoError(f"The job {job.id} did not succeed: {why}")
    console.print(f"  {job.fine_tuned_model}, {job.trained_tokens:,} tokens trained", highlight=False)
    return job
