"""`temper doctor`."""

import click

from infra.local.doctor import diagnose
from infra.settings import AskedSettings


@click.command()
def doctor() -> None:
    """Check that this machine has what Temper needs.

    One line for each thing: what was found, and what to do where it is not enough. Exit status 1 when something must be
    done before `temper up` can work.
    """
    well = True
    for finding in diagnose(AskedSettings()):
        mark = click.style("ok  ", fg="green") if finding.ok else click.style("no  ", fg="red")
        click.echo(f"{mark}{finding.name:<18}{finding.found}")
        if finding.do:
            click.echo(f"    {'':<18}{finding.do}")
        well = well and finding.ok
    if not well:
        raise SystemExit(1)
