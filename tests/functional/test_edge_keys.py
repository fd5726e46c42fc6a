"""`temper keys`: what the edge then makes of a key."""

from __future__ import annotations

import pytest

from contracts import envelope
from contracts.signing import ingest_secret
from infra.cli.keys import create_ingest_key, create_key, list_keys, revoke_key
from infra.local.errors import UserError
from tests.functional.edge import World


async def test_a_key_works_until_it_is_revoked_and_is_never_published(world: World) -> None:
    made = await create_key(world.emit, world.documents, "local", "laptop")
    async with world.client(made.secret) as api:
        assert (await api.get("/v1/models")).status_code == 200
        assert await revoke_key(world.emit, world.documents, made.id)
        assert (await api.get("/v1/models")).status_code == 401
    assert not await revoke_key(world.emit, world.documents, made.id)
    said = b"".join(envelope.body(event) for event in world.emit.events)
    assert made.secret.encode() not in said
    assert [event.type for event in world.emit.events] == ["key.created", "key.revoked"]


async def test_keys_are_listed_by_tenant_without_their_secret(world: World) -> None:
    made = [await create_key(world.emit, world.documents, tenant, "") for tenant in ("local", "other")]
    listed = await list_keys(world.documents, None)
    assert [key["id"] for key in listed] == [key.id for key in made]
    assert [key["tenant"] for key in await list_keys(world.documents, "other")] == ["other"]
    assert all(key.secret not in str(listed) for key in made)


async def test_an_ingest_key_signs_for_its_tenant_and_opens_no_door(world: World) -> None:
    made = await create_ingest_key(world.emit, world.documents, "other", "crm", b"signing")
    assert made.secret.encode() == ingest_secret(b"signing", "other", made.id)
    async with world.client(made.secret) as api:
        assert (await api.get("/v1/models")).status_code == 401
    assert made.secret.encode() not in b"".join(envelope.body(event) for event in world.emit.events)


@pytest.mark.parametrize("tenant", ["public", "", "a/b", "a:b", "-a", "A", "x" * 64])
async def test_a_name_that_cannot_be_a_tenant_is_refused(world: World, tenant: str) -> None:
    with pytest.raises(UserError, match="tenant"):
        await create_key(world.emit, world.documents, tenant, "")
    assert world.emit.events == []


async def test_an_unknown_key_cannot_be_revoked(world: World) -> None:
    with pytest.raises(UserError, match="keys list"):
        await revoke_key(world.emit, world.documents, "key-unknown")


@pytest.fixture
async def world() -> World:
    return World()
