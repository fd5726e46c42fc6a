"""`temper replay`."""

import asyncio
import json
from contextlib import aclosing

import click
from rich.console import Console
from rich.table import Table

from contracts import topics
from contracts.envelope import PoisonError
from infra.adapters.kafka import look_at_log
from infra.adapters.mongo.documents import Builds
from infra.adapters.mongo.generations import DECIDE
from infra.cli.keys import in_world
from infra.runtime.bootstrap import bootstrap
from infra.runtime.folding import ALL
from infra.runtime.replay import LogLoss, Report, loss, records
from infra.runtime.replay import verify as verify_all
from infra.runtime.world import World, needed, world
from infra.settings import Settings


@click.group()
def replay() -> None:
    """Read the log again: print it, or prove that the read models are what it says. Nothing acts."""


@replay.command("print")
@click.option("--topic", "names", multiple=True, help="Only these topics; may be repeated.")
@click.option("--subject", default=None, help="Only events about this file, job, model or key.")
@click.option("--follow", is_flag=True, help="Go on as new events come.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with the whole body.")
def print_(names: tuple[str, ...], subject: str | None, follow: bool, as_json: bool) -> None:
    """Print the log in order of time, one line an event."""
    known = [topic.name for topic in topics.TOPICS]
    for name in names:
        if name not in known:
            raise click.BadParameter(f"{name} is no topic. Known are {', '.join(known)}.")
    asyncio.run(_print(names or tuple(known), subject, follow, as_json))


async def _print(names: tuple[str, ...], subject: str | None, follow: bool, as_json: bool) -> None:
    async with world(Settings()) as here:
        bootstrap = needed(here.settings.kafka_bootstrap, "kafka_bootstrap")
        async with aclosing(records(bootstrap, names, follow)) as found:
            async for record in found:
                place = f"{record.topic}/{record.partition}@{record.offset}"
                try:
                    event = await here.belief(record)
                except PoisonError as error:
                    if subject is None:
                        click.echo(f"{record.at} {place} unreadable: {error.code}: {error}")
                    continue
                if subject not in (None, event.subject):
                    continue
                data = event.data.model_dump(mode="json")
                if as_json:
                    line = {"at": event.at, "id": event.id, "topic": event.type, "subject": event.subject}
                    more = {"tenant": event.tenant, "epoch": event.epoch, "attempt": event.attempt, "data": data}
                    click.echo(json.dumps({**line, **more}))
                else:
                    body = json.dumps(data)
                    click.echo(f"{event.at} {event.type:<22} {event.subject} {body[:160]}")


@replay.command()
def verify() -> None:
    """Fold the whole log in memory and compare every stored document with it, byte for byte.

    Exit status 1 when a document is missing, left over, edited or different.
    """
    report = asyncio.run(_verify())
    if report.wrong is not None:
        click.echo(f"{report.wrong}. {DECIDE}")
        raise SystemExit(1)
    table = Table("read model", "documents", "differences")
    for name, count in report.documents.items():
        wrong = sum(difference.model == name for difference in report.differences)
        table.add_row(name, str(count), f"[red]{wrong}[/]" if wrong else "0")
    console = Console()
    console.print(table)
    for difference in report.differences[:20]:
        console.print(f"{difference.what}: {difference.model}/{difference.id}", soft_wrap=True, highlight=False)
    read = f"{report.records} records read, {report.poison} of them unreadable"
    if not report.ok:
        console.print(f"{read}; {len(report.differences)} documents are not what the log says")
        raise SystemExit(1)
    console.print(f"{read}; every document is what the log says")


async def _verify() -> Report:
    async with world(Settings()) as here:
        return await verify_all(needed(here.settings.kafka_bootstrap, "kafka_bootstrap"), here.db, here.belief)


@replay.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def accept(yes: bool) -> None:
    """Take the log that Kafka holds now for the right one, and rebuild the read models from it.

    For a Kafka that was lost, emptied, cut at its beginning or exchanged, and will not come back: until then the API
    answers 503 and nothing is erased. What the log does not say any more is gone afterwards: files, keys, jobs, models.
    """

    async def look(here: World) -> LogLoss:
        return await loss(needed(here.settings.kafka_bootstrap, "kafka_bootstrap"), here.db, here.belief)

    found = in_world(look)
    if found.wrong is None:
        click.echo("The log is the one that the read models were made from: there is nothing to accept.")
        return
    table = Table("read model", "documents now", "in this log")
    for name, (now, then) in found.documents.items():
        table.add_row(name, str(now), str(then) if then >= now else f"[red]{then}[/]")
    Console().print(table)
    click.echo(f"{found.wrong}.")
    if not yes:
        click.confirm("Rebuild the read models from this log, and lose what it does not say?", abort=True)
    in_world(_accept)
    click.echo("Accepted. The worker rebuilds the read models; `temper replay verify` proves them afterwards.")


async def _accept(here: World) -> None:
    there = await look_at_log(needed(here.settings.kafka_bootstrap, "kafka_bootstrap"), ALL)
    await Builds(here.db).accept(there)
    await bootstrap(here.settings)
