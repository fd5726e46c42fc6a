"""`temper import`."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click
import httpx
from rich.console import Console

from infra.cli.env import edge_of_home
from infra.importing.shapes import Line
from infra.importing.source import Source
from infra.importing.work import Asked, Import
from infra.local.errors import UserError
from infra.settings import AskedSettings

KEY = "TEMPER_IMPORT_KEY"
OPENAI = "https://api.openai.com/v1"
HEAD = ("What", "There", "Here", "State", "Differs")


@click.group(name="import")
def import_() -> None:
    """Bring fine-tuning files and jobs of another server here."""


@import_.command(name="openai")
@click.option("--base-url", default=OPENAI, show_default=True, help="Any server that speaks OpenAI's API.")
@click.option("--base", help="The base model here on which the same jobs are created; left out: only files come.")
@click.option("--job", "jobs", multiple=True, metavar="ID", help="Only this job and its files; repeatable.")
@click.option(
    "--status", "statuses", multiple=True, default=("succeeded",), show_default=True, help="Of jobs; repeatable."
)
@click.option("--record", type=click.Path(path_type=Path), help="Where ids, jobs and metrics are kept, as JSON.")
@click.option("--dry-run", is_flag=True, help="Only say what would come.")
def openai(
    base_url: str,
    base: str | None,
    jobs: tuple[str, ...],
    statuses: tuple[str, ...],
    record: Path | None,
    dry_run: bool,
) -> None:
    """Bring an OpenAI account's fine-tuning home: rows, validation rows, results, and the same jobs on a base of yours.

    The key is read from TEMPER_IMPORT_KEY or asked for; it is kept nowhere. Suffix, seed, hyperparameters and metadata
    stay; the ids, model and last metrics of each job stand in the metadata of its successor, `imported_…`. Weights are
    not given out. Interrupted and run again, it goes on, and brings nothing twice.

    \b
    temper import openai --dry-run --base smollm2-135m-instruct
    """
    there = urlsplit(base_url)
    if there.scheme not in ("http", "https") or not there.hostname or there.username or there.query:
        raise UserError(f"--base-url {base_url} is not http(s)://host[:port]/v1.")
    edge_url, edge_key = edge_of_home()
    key = os.environ.get(KEY) or click.prompt(f"Key of {there.hostname}", hide_input=True, err=True)
    kept = record or AskedSettings().home.absolute() / "imports" / f"{there.hostname}-{there.port or 443}.json"
    asked = Asked(base_url.rstrip("/"), base, statuses, jobs, dry_run)
    lines = asyncio.run(_bring(asked, key.strip(), edge_url, edge_key, kept))
    for line in told(lines):
        click.echo(line)
    if not dry_run:
        click.echo(f"Kept for the next run: {kept}", err=True)


async def _bring(asked: Asked, key: str, edge_url: str, edge_key: str, record: Path) -> list[Line]:
    timeout = httpx.Timeout(600, connect=30)
    theirs = {"authorization": f"Bearer {key}"}
    ours = {"authorization": f"Bearer {edge_key}"}
    with Console(stderr=True).status("looking") as shown:
        async with (
            httpx.AsyncClient(base_url=asked.origin, headers=theirs, timeout=timeout, follow_redirects=True) as source,
            httpx.AsyncClient(base_url=edge_url, headers=ours, timeout=timeout, trust_env=False) as target,
        ):
            return await Import(Source(source), target, asked, record, shown.update).run()


def told(lines: Sequence[Line]) -> list[str]:
    """Return the table: what came, what is not given out any more, what differs."""
    rows = [HEAD, *((each.what, each.there, each.here or "-", each.state, "; ".join(each.differs)) for each in lines)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD) - 1)]
    shown = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]
    counts = Counter(each.state for each in lines)
    total = ", ".join(f"{count} {state}" for state, count in counts.most_common()) or "nothing is there"
    return [*(line.rstrip() for line in shown), f"{total}. Weights of tuned models are not given out."]
