"""Base and tuned model are asked the same questions, and their answers stand side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from openai import AsyncOpenAI
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from contracts.benchmarks import Estimate
from functions.benchmark_model.score import exact
from functions.benchmark_model.statistics import gain, share
from infra.demo.data import DemoSet, Row, answer, prompt

BASE = "temper-demo-1m"
_IN_FLIGHT = 32


async def ask(client: AsyncOpenAI, model: str, rows: Sequence[Row], bar: Any, tokens: int = 64) -> list[str]:
    """Ask a model each row's question, greedily; returns its answers in order."""
    gate = asyncio.Semaphore(_IN_FLIGHT)

    async def one(row: Row) -> str:
        async with gate:
            asked: Any = {"model": model, "messages": prompt(row), "max_tokens": tokens}
            reply = await client.chat.completions.create(**asked, temperature=0)
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
        table.add_row(f"{each.name}\n[dim]{each.about}[/]", str(len(each.test)), *shown)
    console.print(table)
    for each in sets:
        row = each.test[0]
        question = str(prompt(row)[-1]["content"]).rpartition("Question: ")[2]
        console.print(f"[bold]{each.name}[/]: {question}", highlight=False)
        for name, given in (("base", answers[BASE]), ("tuned", answers[tuned])):
            console.print(f"  {name:<6}{given[each.name][0]}", highlight=False, markup=False)
        console.print(f"  right {answer(row)}", highlight=False, markup=False)
    return gains
