"""`temper run`."""

import sys

import click

from infra.roles.app import ROLES, main


@click.command()
@click.argument("role", type=click.Choice(list(ROLES)))
@click.option("--functions", metavar="A,B", default="", help="Only some of the role's functions (default: all).")
def run(role: str, functions: str) -> None:
    """Run one role in the foreground, with settings from the environment.

    For deployments where something else supervises processes; `temper up` runs all roles on one machine.
    """
    sys.exit(main([role, "--functions", functions]))
