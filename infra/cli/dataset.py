"""`temper dataset`."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import click
import httpx
from rich.console import Console

from infra.cli.chats import from_chats
from infra.cli.env import edge_of_home, said
from infra.local.errors import UserError

Object = dict[str, Any]
LOOK_SECONDS = 0.5
BOUNDS = ("below_min_score", "above_max_score")
"""Why a question is dropped for one of its scores, as the report says."""


@click.group()
def dataset() -> None:
    """Make a new data set of one that is there, or of stored chats."""


dataset.add_command(from_chats)


@dataset.command()
@click.argument("file")
@click.option("--min-score", "least", multiple=True, metavar="SCORE=VALUE", help="Drop questions below; repeatable.")
@click.option("--max-score", "most", multiple=True, metavar="SCORE=VALUE", help="Drop questions above; repeatable.")
def recurate(file: str, least: tuple[str, ...], most: tuple[str, ...]) -> None:
    """Make a new data set of FILE's questions without those of too low or too high a score.

    FILE is a file of documents whose data set is ready; it stays as it is. Nobody is asked anything again: answers are
    recorded. The new data set is a file with an id of its own, which a job may name. A question without a score stays.

    \b
    temper dataset recurate file-… --min-score support=0.6 --max-score closed_book=0.5
    """
    asked = {"min_score": _bounds(least, "--min-score"), "max_score": _bounds(most, "--max-score")}
    base_url, api_key = edge_of_home()
    headers = {"authorization": f"Bearer {api_key}"}
    try:
        with httpx.Client(base_url=base_url, headers=headers, timeout=60, trust_env=False) as edge:
            before = said(edge.get(f"/files/{quote(file, safe='')}"))
            made = said(edge.post(f"/files/{quote(file, safe='')}/recurate", json=asked))
            made = _followed(edge, made["id"])
            report = said(edge.get(f"/files/{made['id']}/report"))
    except httpx.TransportError as error:
        raise UserError(f"The edge does not answer: {error}. Look at `temper status`, then try again.") from error
    reasons: Counter[str] = Counter()
    for split in report["examples"].values():
        reasons.update({reason: count for reason, count in split["dropped"].items() if reason in BOUNDS})
    click.echo(f"{made['id']}: data set {made['dataset']['version'][:12]}")
    for name, noun in (("rows", "rows"), ("held_out_rows", "rows held out")):
        click.echo(f"  {noun}: {before['dataset'][name]} → {made['dataset'][name]}")
    dropped = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    click.echo(f"  questions dropped: {dropped or 'none'}")


def _bounds(given: Sequence[str], option: str) -> dict[str, float]:
    found = {}
    for each in given:
        name, _, value = each.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = math.nan
        if not math.isfinite(found[name]):
            raise UserError(f"{option} {each} is not SCORE=VALUE, such as support=0.6.")
    return found


def _followed(edge: httpx.Client, id: str) -> Object:
    """Return the file when its data set is ready; raises UserError when there is none."""
    with Console(stderr=True).status(f"{id}: assembling") as shown:
        while (found := said(edge.get(f"/files/{id}")))["status"] == "uploaded":
            shown.update(f"{id}: {found['dataset']['stage']}")
            time.sleep(LOOK_SECONDS)
    if found["status"] != "processed":
        raise UserError(f"{id}: {found['status_details']}")
    return found
