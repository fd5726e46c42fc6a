"""`temper emit`."""

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import uuid_utils
from pydantic import ValidationError

from contracts import envelope, signing, topics
from contracts.canonical import compact
from contracts.envelope import Event, PoisonError, Record
from contracts.ports import UnavailableError
from contracts.topics import Topic
from infra.adapters.kafka import KafkaEmit, Published
from infra.local.errors import UserError
from infra.settings import Settings

INGEST_SECRET = "TEMPER_INGEST_SECRET"  # noqa: S105  the name of a variable


@dataclass(frozen=True)
class Order:
    """What the command line asks for."""

    topic: str
    data: bytes
    tenant: str
    subject: str | None
    source: str
    id: str
    key: str | None
    """Id of the ingest key to sign with."""
    signed: bool
    """As Temper itself."""


@click.command()
@click.argument("topic")
@click.option("--data", required=True, metavar="JSON|@FILE", help="The body: JSON, or @ and a file's name.")
@click.option("--tenant", help="Whose event it is. Default: the tenant that may publish unsigned, `local`.")
@click.option("--subject", help="What it happened to. Default for a new file or job of an outsider: derived.")
@click.option("--source", default="temper-emit", show_default=True, help="CloudEvents source: the publishing system.")
@click.option("--id", "event_id", help="CloudEvents id; the same source and id are the same event. Default: a new one.")
@click.option("--key", metavar="KEY_ID", help=f"Sign with this ingest key; its secret is read from {INGEST_SECRET}.")
@click.option("--signed", is_flag=True, help="Publish as Temper itself, which needs the signing key of the stack.")
def emit(
    topic: str,
    data: str,
    tenant: str | None,
    subject: str | None,
    source: str,
    event_id: str | None,
    key: str | None,
    signed: bool,
) -> None:
    """Publish one event to Kafka by hand, as another system would.

    It is checked first as every function will check it, and refused with a sentence. Prints what was published as JSON.

    \b
    temper emit job.created --data '{"model": "temper-demo-1m", "training_file": "file-…"}'
    temper emit file.uploaded --data @file.json --source crm --id 42
    """
    settings = Settings()
    if settings.kafka_bootstrap is None:
        raise UserError("No Kafka is known. Start the stack with `temper up`, or set TEMPER_KAFKA_BOOTSTRAP.")
    tenant = tenant or settings.unsigned_tenant
    if tenant is None:
        raise UserError("No tenant may publish unsigned here. Say whose event it is with --tenant.")
    order = Order(topic, _body(data), tenant, subject, source, event_id or str(uuid_utils.uuid7()), key, signed)
    signing_key = settings.signing_key.get_secret_value().encode() if settings.signing_key else None
    if signed:
        record, event = as_temper(order, signing_key)
    else:
        record, event = as_outsider(order, _secret(order, signing_key), settings.unsigned_tenant)
    published = asyncio.run(_publish(settings.kafka_bootstrap, record))
    said = {"topic": topic, "id": event.id, "subject": event.subject, "tenant": tenant}
    click.echo(json.dumps({**said, "partition": published.partition, "offset": published.offset, "at": published.at}))


def as_temper(order: Order, signing_key: bytes | None) -> tuple[Record, Event]:
    """Return the record of Temper's own event, and the event; raises UserError when no function would believe it."""
    if signing_key is None:
        raise UserError("--signed needs TEMPER_SIGNING_KEY, or a stack that runs in this TEMPER_HOME.")
    if order.subject is None:
        raise UserError("An event of Temper's own needs a --subject.")
    data = _topic(order).payload
    try:
        event = envelope.make(
            data.model_validate_json(order.data), subject=order.subject, tenant=order.tenant, id=order.id
        )
        record = _record(order, order.subject, envelope.body(event), envelope.headers(event, signing_key))
    except ValueError as error:  # pydantic's is one
        raise UserError(f"{order.topic} cannot say that: {_first(error)}") from error
    return record, _believed(record, signing_key, None)


def as_outsider(order: Order, secret: bytes | None, unsigned_tenant: str | None) -> tuple[Record, Event]:
    """Return another system's record and the event that it will be; raises UserError when it would be refused."""
    topic = _topic(order)
    if topic.outside is None:
        raise UserError(f"{order.topic} may only be published by Temper itself; see --signed.")
    if secret is None and order.tenant != unsigned_tenant:
        raise UserError(f"Unsigned events are not accepted for tenant {order.tenant}; sign with --key KEY_ID.")
    subject = order.subject
    if topic.born:
        subject = subject or envelope.outside_subject(topic.outside, order.tenant, order.source, order.id)
    if subject is None:
        raise UserError(f"{order.topic} needs a --subject: the {topic.outside}… that it is about.")
    said = {
        "specversion": "1.0",
        "id": order.id,
        "source": order.source,
        "type": order.topic,
        "subject": subject,
        "tenant": order.tenant,
    }
    headers = [("content-type", b"application/json"), *((f"ce_{name}", value.encode()) for name, value in said.items())]
    record = _record(order, subject, order.data, headers)
    # checked without the signature, because an outsider has no key to check its own with
    event = _believed(record, b"", order.tenant)
    if secret is not None and order.key is not None:
        headers.append(("ce_keyid", order.key.encode()))
        headers.append(("ce_sig", signing.signature(secret, order.topic, subject, headers, order.data).encode()))
    return _record(order, subject, order.data, headers), event


def _secret(order: Order, signing_key: bytes | None) -> bytes | None:
    """Return what the ingest key signs with: derived where the stack's own key is at hand."""
    if order.key is None:
        return None
    given = os.environ.get(INGEST_SECRET)
    if given:
        return given.encode()
    if signing_key is not None:
        return signing.ingest_secret(signing_key, order.tenant, order.key)
    raise UserError(f"The secret of {order.key} is not known. Set {INGEST_SECRET} to what `temper keys create` said.")


def _topic(order: Order) -> Topic:
    topic = topics.named(order.topic)
    if topic is None:
        known = ", ".join(each.name for each in topics.TOPICS)
        raise UserError(f"There is no topic {order.topic}. Known are {known}.")
    return topic


def _body(data: str) -> bytes:
    """Return the body given on the command line or in a file, as compact JSON."""
    try:
        text = Path(data[1:]).read_text() if data.startswith("@") else data
        return compact(json.loads(text))
    except OSError as error:
        raise UserError(f"{data[1:]} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"The data is not JSON: {error}.") from error


def _record(order: Order, subject: str, value: bytes, headers: Sequence[tuple[str, bytes]]) -> Record:
    return Record(topic=order.topic, key=subject.encode(), headers=tuple(headers), value=value, at=0)


def _believed(record: Record, signing_key: bytes, unsigned_tenant: str | None) -> Event:
    try:
        return envelope.read(record, signing_key, unsigned_tenant)
    except PoisonError as error:
        raise UserError(f"Every function would refuse this event ({error.code}): {error}") from error


def _first(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"
    return str(error)


def _id(record: Record) -> str:
    return next((value or b"").decode() for name, value in record.headers if name == "ce_id")


async def _publish(bootstrap: str, record: Record) -> Published:
    publisher = KafkaEmit(bootstrap, b"")
    headers = [(name, value or b"") for name, value in record.headers]
    try:
        return await publisher.publish(record.topic, record.key or b"", record.value, headers)
    except UnavailableError as error:
        raise UserError(f"{error}. It is safe to try again with --id {_id(record)}.") from error
    finally:
        await publisher.stop()
