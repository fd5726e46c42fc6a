"""What most tests of the edge stand on; a module that needs another world has a fixture of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.functional.edge import World
from tests.functional.test_edge_files import upload
from tests.receivers import Endpoint, Post, endpoint, mail_server


@pytest.fixture
async def world() -> World:
    """An edge with the demo base."""
    world = World()
    await world.base()
    return world


@pytest.fixture
async def key(world: World) -> str:
    """The key of the tenant `local`."""
    return await world.key("local")


@pytest.fixture
async def api(world: World, key: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client with that key."""
    async with world.client(key) as client:
        yield client


@pytest.fixture
async def file(api: httpx.AsyncClient) -> str:
    """The id of an uploaded file of rows."""
    id: str = (await upload(api)).json()["id"]
    return id


@pytest.fixture
def post() -> Iterator[Post]:
    with mail_server() as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Endpoint]:
    with endpoint() as running:
        yield running
