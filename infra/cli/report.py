"""`temper report`."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import httpx
from rich.console import Console
from rich.table import Table

from infra.cli.env import edge_of_home, said
from infra.local.errors import UserError


@click.command()
@click.argument("id")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where the page is written.")
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
def report(id: str, out: Path | None, opens: bool) -> None:
    """Write the report of a job's newest benchmark, or of a benchmark, as one HTML page.

    ID is a job's or a benchmark's; the page needs nothing beside it and may be sent to others. The verdict and the
    scores are printed as well.
    """
    base_url, api_key = edge_of_home()
    headers = {"authorization": f"Bearer {api_key}"}
    try:
        with httpx.Client(base_url=base_url, headers=headers, timeout=60, trust_env=False) as edge:
            found = completed(edge, id)
            page = edge.get(f"/benchmarks/{found['id']}/report").raise_for_status().content
    except httpx.TransportError as error:
        raise UserError(f"The edge does not answer: {error}. Look at `temper status`, then try again.") from error
    path = (out or Path(f"{found['id']}.html")).absolute()
    path.write_bytes(page)
    show(Console(), found)
    click.echo(path)
    if opens:
        webbrowser.open(path.as_uri())


def completed(edge: httpx.Client, id: str) -> dict[str, Any]:
    """Return the benchmark of that id, or the newest of that job, once it has a result; raises UserError."""
    if id.startswith("ftjob-"):
        listed = said(edge.get(f"/fine_tuning/jobs/{quote(id, safe='')}/benchmarks"))["data"]
        if not listed:
            raise UserError(f"The job {id} has no benchmark. POST /v1/fine_tuning/jobs/{id}/benchmarks makes one.")
        id = listed[0]["id"]
    found = said(edge.get(f"/benchmarks/{quote(id, safe='')}"))
    if found["status"] != "completed":
        why = found["error"]["message"] if found["error"] else "Try again when it is completed."
        raise UserError(f"The benchmark {id} is {found['status']}. {why}")
    return found


def show(console: Console, found: dict[str, Any]) -> None:
    """Print verdict and scores of a benchmark."""
    console.print(f"[bold]{found['verdict'].replace('_', ' ')}[/]: {found['sentence']}", highlight=False)
    table = Table("task", "n", "base", "tuned", "difference", "scored by")
    for score in found["scores"]:
        gap = score["difference"]
        shown = f"{gap[0]:+.3f} ({gap[1]:+.3f} to {gap[2]:+.3f})" if gap else ""
        base, tuned = ("" if score[side] is None else f"{score[side]:.3f}" for side in ("base", "tuned"))
        table.add_row(score["name"], str(score["n"]), base, tuned, shown, score["scorer"])
    console.print(table)
