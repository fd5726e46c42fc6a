"""`temper storage`."""

from __future__ import annotations

import json

import click
from rich.console import Console
from rich.table import Table

from contracts.storage import KINDS, Kind, StoredBytes
from contracts.wire import openai
from functions._shared.storage import stored
from infra.cli.keys import in_world
from infra.runtime.world import World


@click.command()
@click.option("--tenant", help="Only this tenant's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per tenant.")
def storage(tenant: str | None, as_json: bool) -> None:
    """Show what is stored for whom: bytes of each kind, tenant by tenant; `public` has the base models.

    A checkpoint that can be called counts as a model; of a job that runs, the newest two stay to go on from.
    """

    async def body(here: World) -> dict[str, dict[Kind, StoredBytes]]:
        tenants = [tenant] if tenant else await here.blobs.folders("")
        return {name: await stored(here.blobs, here.documents, name) for name in tenants}

    found = in_world(body)
    if as_json:
        for name, kinds in found.items():
            click.echo(json.dumps({"tenant": name, **openai.storage(kinds)}))
        return
    table = Table("tenant", *KINDS, "together", "objects")
    for name, kinds in found.items():
        sizes = [kinds[kind].bytes for kind in KINDS]
        table.add_row(name, *map(shown, sizes), shown(sum(sizes)), f"{sum(each.objects for each in kinds.values())}")
    Console().print(table)


def shown(size: int) -> str:
    """Return a number of bytes as a person reads it."""
    value, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"
