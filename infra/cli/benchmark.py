"""`temper benchmark`."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import click
import httpx
from rich.console import Console

from infra.cli.env import edge_of_home, said
from infra.cli.report import completed, show
from infra.local.errors import UserError

LOOK_SECONDS = 0.5


@click.group()
def benchmark() -> None:
    """Score a benchmark's answers anew."""


@benchmark.command()
@click.argument("id")
@click.option("--judge", help="Model to ask at the judge's endpoint, or `none`.")
@click.option("--metric", type=click.Choice(["judge", "exact_match", "f1", "rouge_l"]), help="Compare answers by it.")
def rescore(id: str, judge: str | None, metric: str | None) -> None:
    """Score the answers of a benchmark anew, by another judge or metric.

    ID is a benchmark's, or a job's for its newest one, which stays as it is. No model is asked anything again, and a
    judge only what it was not asked before. The new benchmark has an id, a verdict and a report of its own.

    \b
    temper benchmark rescore ftjob-… --metric rouge_l
    """
    base_url, api_key = edge_of_home()
    headers = {"authorization": f"Bearer {api_key}"}
    asked = {name: value for name, value in (("judge", judge), ("metric", metric)) if value}
    try:
        with httpx.Client(base_url=base_url, headers=headers, timeout=60, trust_env=False) as edge:
            before = completed(edge, id)
            made = said(edge.post(f"/benchmarks/{quote(before['id'], safe='')}/rescore", json=asked))
            _follow(edge, made["id"])
            found = completed(edge, made["id"])
    except httpx.TransportError as error:
        raise UserError(f"The edge does not answer: {error}. Look at `temper status`, then try again.") from error
    click.echo(f"{found['id']}: the answers of {before['id']}, scored anew")
    show(Console(), found)


def _follow(edge: httpx.Client, id: str) -> None:
    """Return when the benchmark has ended."""
    with Console(stderr=True).status(f"{id}: queued") as shown:
        while (found := said(edge.get(f"/benchmarks/{id}")))["status"] in ("queued", "running"):
            shown.update(f"{id}: {_progress(found)}")
            time.sleep(LOOK_SECONDS)


def _progress(found: dict[str, Any]) -> str:
    answered, total = found["progress"]["answered"], found["progress"]["total"]
    return f"{answered} of {total} answered and judged" if total else str(found["status"])
