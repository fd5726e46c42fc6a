"""`temper keys`."""

import asyncio
import json
import re
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar, get_args

import click

from contracts.documents.models import PUBLIC
from contracts.envelope import derived_id, make
from contracts.events.keys import ADDRESS, KeyCreated, KeyRevoked
from contracts.ports import Documents, Emit, UnavailableError
from contracts.signing import ingest_secret
from contracts.wire.dialects import Dialect
from functions.edge.auth import RANDOM_BYTES, encode_key, key_hash
from infra.adapters.minio.access import MinioAccess, NoAccessError
from infra.local.errors import UserError
from infra.runtime.world import World, minio_access, new_id, world
from infra.settings import Settings

Result = TypeVar("Result")
TENANT = re.compile("[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class NewKey:
    """A key that was just made; the only time that its secret is seen."""

    id: str
    tenant: str
    kind: str
    secret: str


async def create_key(
    emit: Emit, documents: Documents, tenant: str, name: str, email: str | None = None, dialect: Dialect = "openai"
) -> NewKey:
    """Make an API key of `tenant`; only its hash is published."""
    key = encode_key(secrets.token_bytes(RANDOM_BYTES))
    if email is not None and not re.fullmatch(ADDRESS, email):
        raise UserError(f"{email!r} is not an e-mail address. Give one such as ada@example.com.")
    data = KeyCreated(sha256=key_hash(key), hint=key[-4:], name=name, email=email, dialect=dialect)
    return NewKey(await _created(emit, documents, data, tenant, _subject(data.sha256)), tenant, "api", key)


async def create_ingest_key(emit: Emit, documents: Documents, tenant: str, name: str, signing_key: bytes) -> NewKey:
    """Make a key with which another system signs its events; the secret is derived, never stored."""
    key_id = _subject(new_id())
    data = KeyCreated(sha256=key_hash(key_id), hint=key_id[-4:], name=name, kind="ingest")
    secret = ingest_secret(signing_key, tenant, key_id).decode()
    return NewKey(await _created(emit, documents, data, tenant, key_id), tenant, "ingest", secret)


async def _created(emit: Emit, documents: Documents, data: KeyCreated, tenant: str, subject: str) -> str:
    if not TENANT.fullmatch(tenant) or tenant == PUBLIC:
        raise UserError(
            f"{tenant!r} cannot be a tenant. A tenant is 1 to 63 of a-z, 0-9 and -, begins with a letter or digit, "
            f"and is not {PUBLIC!r}."
        )
    event = make(data, subject=subject, tenant=tenant, id=derived_id("key.created", data.sha256))
    await documents.apply(await emit(event))
    return subject


def _subject(of: str) -> str:
    return f"key-{derived_id('key', of).replace('-', '')}"


async def list_keys(documents: Documents, tenant: str | None) -> list[dict[str, Any]]:
    """Return the keys of one tenant or of all, oldest first; none shows more of a key than its last characters."""
    where = {"tenant": tenant} if tenant else {}
    return await documents.find("keys", where, [("created_at", 1), ("id", 1)])


async def revoke_key(emit: Emit, documents: Documents, id: str) -> bool:
    """Make the key useless from now on; False when it was so already."""
    found = await documents.find("keys", {"id": id}, limit=1)
    if not found:
        raise UserError(f"There is no key {id}. `temper keys list` shows the ids.")
    key = found[0]
    if key["revoked_at"] is not None:
        return False
    data = KeyRevoked(sha256=key["sha256"])
    event = make(data, subject=id, tenant=key["tenant"], id=derived_id("key.revoked", key["sha256"]))
    await documents.apply(await emit(event))
    return True


@click.group()
def keys() -> None:
    """Make, list and revoke API keys. A key belongs to one tenant and sees only what is that tenant's."""


@keys.command()
@click.option("--tenant", default="local", show_default=True, help="Whose key it is; a new name is a new tenant.")
@click.option("--name", default="", help="What it is for, to tell keys apart.")
@click.option("--email", help="Where the ends of jobs that are created with it are told.")
@click.option(
    "--dialect",
    type=click.Choice(get_args(Dialect)),
    default="openai",
    show_default=True,
    help="Whose shapes answers to it have.",
)
@click.option("--ingest", is_flag=True, help="A key with which another system signs the events that it publishes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def create(tenant: str, name: str, email: str | None, dialect: Dialect, ingest: bool, as_json: bool) -> None:
    """Make a key and print it: this is the only time that it is shown."""
    if ingest and email is not None:
        raise UserError("What an ingest key signs names no creator. Leave --email out, or make an API key.")

    async def body(here: World) -> NewKey:
        if ingest:
            return await create_ingest_key(here.emit, here.documents, tenant, name, here.signing_key)
        return await create_key(here.emit, here.documents, tenant, name, email, dialect)

    made = in_world(body)
    access = _access(lambda minio: minio.grant(tenant, made.id)) if ingest else None
    if as_json:
        shown = {"id": made.id, "tenant": made.tenant, "kind": made.kind, "secret": made.secret}
        click.echo(json.dumps(shown | ({"s3": asdict(access)} if access else {})))
        return
    click.echo(made.secret)
    if access:
        click.echo(f"S3: access key {access.access_key}, secret key {access.secret_key}")
        click.echo(f"    puts bytes under {access.prefix} of bucket {access.bucket}", err=True)
    click.echo(f"{made.id} of tenant {made.tenant}. Keep what stands above: it is not shown again.", err=True)


@keys.command(name="list")
@click.option("--tenant", help="Only this tenant's keys.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per key.")
def list_(tenant: str | None, as_json: bool) -> None:
    """List the keys: id, tenant, kind, last characters, when made, whether revoked, name."""

    async def body(here: World) -> list[dict[str, Any]]:
        return await list_keys(here.documents, tenant)

    for key in in_world(body):
        if as_json:
            click.echo(json.dumps(key))
            continue
        state = f"revoked {_when(key['revoked_at'])}" if key["revoked_at"] is not None else "works"
        line = f"{key['id']}  {key['tenant']}  {key['kind']}  …{key['hint']}  {_when(key['created_at'])}  {state}"
        click.echo(f"{line}  {key['name']}".rstrip())


@keys.command()
@click.argument("id")
def revoke(id: str) -> None:
    """Make the key with this id useless, at once and for good."""

    async def body(here: World) -> tuple[bool, dict[str, Any]]:
        now = await revoke_key(here.emit, here.documents, id)
        return now, (await here.documents.find("keys", {"id": id}, limit=1))[0]

    now, key = in_world(body)
    if key["kind"] == "ingest":  # also when it was revoked before: MinIO may have been away then
        _access(lambda minio: minio.withdraw(key["tenant"], id))
    click.echo(f"{id} is revoked." if now else f"{id} was revoked already.")


def _when(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _access(use: Callable[[MinioAccess], Result]) -> Result:
    try:
        return use(minio_access(Settings()))
    except (NoAccessError, UnavailableError) as error:
        raise UserError(str(error)) from error


def in_world(body: Callable[[World], Coroutine[Any, Any, Result]]) -> Result:
    settings = Settings()
    if not (settings.kafka_bootstrap and settings.mongo_url and settings.s3_url and settings.signing_key):
        raise UserError("No stack is known. Start it with `temper up`, or set TEMPER_KAFKA_BOOTSTRAP and the others.")

    async def run() -> Result:
        async with world(settings) as here:
            return await body(here)

    try:
        return asyncio.run(run())
    except UnavailableError as error:
        raise UserError(f"{error}. Look at `temper status`, then try again.") from error
