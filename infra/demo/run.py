"""`temper demo`: from rows to a tuned model that answers, through the official client, with a table at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from openai import AsyncOpenAI, OpenAI
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from infra.demo.data import DemoSet, Row, answer, derange, jsonl, make_sets, prompt, training_rows
from infra.demo.score import Estimate, exact, gain, share
from infra.local.record import read_stack
from infra.settings import AskedSettings

BASE = "temper-demo-1m"
EPOCHS, BATCH = 9, 8
IN_FLIGHT = 32
CONTROL_SEEDS = (1, 2, 3)
CONTROL_BOUND = 0.05
FOLLOW_SECONDS = 0.5

MEANINGS = {
    "memorised": "asked as trained: this is recall",
    "reread": "trained questions among new distractors: this is reading, helped by recall",
    "unseen": "documents that training never saw: this is the one that counts",
}


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


@contextlib.contextmanager
def running(home: Path, console: Console) -> Iterator[tuple[str, str]]:
    """Join the stack of `home`, or start one and stop it afterwards; yields (base URL, API key)."""
    found = read_stack(home)
    mine = found is None or found.state != "ready" or not _alive(found.pid)
    env = {**os.environ, "TEMPER_HOME": str(home)}
    temper = [sys.executable, "-m", "infra.cli"]
    if mine:
        if subprocess.run([*temper, "up", "--detach"], env=env, check=False).returncode:
            raise DemoError("The stack did not start; what it said stands above.")
    else:
        console.print(f"  joining the stack that runs in {home}")
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


def tune(client: OpenAI, rows: Sequence[Row], suffix: str, console: Console) -> Any:
    """Upload rows, create a job, follow it to its end; returns the job or raises DemoError."""
    uploaded = client.files.create(file=("handbook.jsonl", jsonl(rows)), purpose="fine-tune")
    console.print(f"  uploaded {uploaded.filename}: {len(rows)} rows as {uploaded.id}")
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=uploaded.id,
        suffix=suffix,
        hyperparameters={"n_epochs": EPOCHS, "batch_size": BATCH},
        seed=1,
    )
    console.print(f"  created {job.id}")
    columns = (
        TextColumn("  {task.description:<16}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} steps  {task.fields[loss]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=1, loss="")
        while job.status not in ("succeeded", "failed", "cancelled"):
            time.sleep(FOLLOW_SECONDS)
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


async def ask(client: AsyncOpenAI, model: str, rows: Sequence[Row], bar: Any) -> list[str]:
    """Ask a model each row's question, greedily; returns its answers in order."""
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def one(row: Row) -> str:
        async with gate:
            messages: Any = prompt(row)
            reply = await client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=64)
            bar()
            return reply.choices[0].message.content or ""

    return list(await asyncio.gather(*(one(row) for row in rows)))


async def compare(base_url: str, key: str, sets: Sequence[DemoSet], models: Sequence[str], console: Console) -> Any:
    """Ask every model every test question; returns model → set → answers."""
    answers: dict[str, dict[str, list[str]]] = {model: {} for model in models}
    columns = (
        TextColumn("  {task.description:<40.40}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
    )
    async with AsyncOpenAI(base_url=base_url, api_key=key) as client:
        with Progress(*columns, console=console) as progress:
            for model in models:
                bar = progress.add_task(model, total=sum(len(each.test) for each in sets))
                for each in sets:
                    answers[model][each.name] = await ask(
                        client, model, each.test, lambda bar=bar: progress.advance(bar)
                    )
    return answers


def hits(found: Sequence[str], rows: Sequence[Row]) -> list[bool]:
    """Return which answers are exactly right."""
    return [exact(given, answer(row)) for given, row in zip(found, rows, strict=True)]


def percent(estimate: Estimate) -> str:
    """Return an estimate with its interval, in points."""
    return f"{100 * estimate.value:.0f} % ({100 * estimate.low:.0f} to {100 * estimate.high:.0f})"


def show(console: Console, sets: Sequence[DemoSet], answers: Any, tuned: str) -> dict[str, Estimate]:
    """Print base beside tuned, one answer of each set; returns the gain of each set."""
    table = Table("what was asked", "n", "base", "tuned", "gain", title="Exactly right, with 95 % intervals")
    gains = {}
    for each in sets:
        before, after = hits(answers[BASE][each.name], each.test), hits(answers[tuned][each.name], each.test)
        gains[each.name] = gain(before, after)
        shown = (percent(share(before)), percent(share(after)), percent(gains[each.name]))
        table.add_row(f"{each.name}\n[dim]{MEANINGS[each.name]}[/]", str(len(each.test)), *shown)
    console.print(table)
    for each in sets:
        row = each.test[0]
        question = str(prompt(row)[-1]["content"]).rpartition("Question: ")[2]
        console.print(f"[bold]{each.name}[/]: {question}", highlight=False)
        for name, given in (("base", answers[BASE]), ("tuned", answers[tuned])):
            console.print(f"  {name:<6}{given[each.name][0]}", highlight=False, markup=False)
        console.print(f"  right {answer(row)}", highlight=False, markup=False)
    return gains


def go_on(console: Console, home: Path, model: str) -> None:
    """Say what to do next."""
    console.print(
        f"\n[bold]How to go on[/]\n"
        f"  temper up                    # the stack again; everything is still there, in {home}\n"
        f'  eval "$(temper env)"         # OPENAI_BASE_URL and OPENAI_API_KEY for your own code\n'
        f"  temper models add NAME DIR   # a base model of your own\n"
        f"and in Python, with the official client:\n"
        f"  from openai import OpenAI\n"
        f'  OpenAI().chat.completions.create(model="{model}",\n'
        f'      messages=[{{"role": "user", "content": "…"}}])',
        highlight=False,
        soft_wrap=True,
    )


@click.command()
@click.option("--seed", default=0, help="Of the handbook that is invented.")
@click.option("--control", is_flag=True, help="Train on deranged answers, three seeds: the gain must vanish.")
def demo(seed: int, control: bool) -> None:
    """Tune the demo base on an invented handbook and compare it with what it was.

    Starts the stack (or joins a running one), uploads rows with the official client, waits for the job, asks base and
    tuned model the same questions, and shows how many each got exactly right. Exit status 1 when anything failed.
    """
    console = Console(width=None if sys.stdout.isatty() else 120)
    home = AskedSettings().home.absolute()
    stages = Stages(console)
    try:
        (run_control if control else run_demo)(console, stages, home, seed)
    except DemoError as error:
        console.print(f"error: {error}", style="red")
        raise SystemExit(1) from error


def run_demo(console: Console, stages: Stages, home: Path, seed: int) -> None:
    """The whole story once."""
    with contextlib.ExitStack() as stack:
        with stages.stage("Starting the stack"):
            base_url, key = stack.enter_context(running(home, console))
        client = stack.enter_context(OpenAI(base_url=base_url, api_key=key))
        sets = make_sets(seed)
        with stages.stage("Tuning"):
            job = tune(client, training_rows(sets), "handbook", console)
        with stages.stage("Asking base and tuned model"):
            answers = asyncio.run(compare(base_url, key, sets, (BASE, job.fine_tuned_model), console))
        show(console, sets, answers, job.fine_tuned_model)
    table = Table("stage", "seconds")
    for name, seconds in stages.seconds:
        table.add_row(name, f"{seconds:.1f}")
    table.add_row("all", f"{sum(seconds for _, seconds in stages.seconds):.1f}")
    console.print(table)
    go_on(console, home, job.fine_tuned_model)


def run_control(console: Console, stages: Stages, home: Path, seed: int) -> None:
    """Train on answers that belong to other questions: what is gained on the true ones would be no learning."""
    before: list[bool] = []
    after: list[bool] = []
    with contextlib.ExitStack() as stack:
        with stages.stage("Starting the stack"):
            base_url, key = stack.enter_context(running(home, console))
        client = stack.enter_context(OpenAI(base_url=base_url, api_key=key))
        for number in CONTROL_SEEDS:
            memorised = make_sets(seed + number)[0]
            with stages.stage(f"Tuning on deranged answers, seed {number}"):
                job = tune(client, derange(memorised.train, number), "deranged", console)
            with stages.stage("Asking for the true answers"):
                models = (BASE, job.fine_tuned_model)
                answers = asyncio.run(compare(base_url, key, [memorised], models, console))
            before += hits(answers[BASE]["memorised"], memorised.test)
            after += hits(answers[job.fine_tuned_model]["memorised"], memorised.test)
    found = gain(before, after)
    console.print(f"memorisation gain with deranged answers: {percent(found)}, n = {len(before)}", highlight=False)
    if found.high >= CONTROL_BOUND:
        raise DemoError(f"The upper bound is not below {100 * CONTROL_BOUND:.0f} points: the gain is not learning.")


if __name__ == "__main__":
    demo()
