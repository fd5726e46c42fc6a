"""`temper secrets`."""

from __future__ import annotations

import click

from contracts.tracking import WANDB
from infra.cli.keys import in_world

NAMES = (WANDB,)


@click.group()
def secrets() -> None:
    """Keep keys for other services, sealed; nothing shows them again."""


@secrets.command("set")
@click.argument("name", type=click.Choice(NAMES))
@click.option("--tenant", default="local", show_default=True, help="Whose key it is.")
def set_secret(name: str, tenant: str) -> None:
    """Store a key, which is asked for (or read from standard input, when that is no terminal).

    wandb: an API key for Weights & Biases, for jobs that come without one of their own.
    """
    value = click.prompt("Key", hide_input=True).strip()
    in_world(lambda here: here.secrets.put(tenant, name, value))
    click.echo(f"{name} of {tenant} is stored.")


@secrets.command("delete")
@click.argument("name", type=click.Choice(NAMES))
@click.option("--tenant", default="local", show_default=True, help="Whose key it is.")
def delete_secret(name: str, tenant: str) -> None:
    """Forget a key."""
    in_world(lambda here: here.secrets.drop(tenant, name))
    click.echo(f"{name} of {tenant} is forgotten.")
