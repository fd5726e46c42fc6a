"""Permissions of checkpoints: who may call another tenant's model by its name, and from when to when."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from contracts.events.models import ModelDeleted
from functions._shared.visible import visible_model
from tests.functional.edge import BASE, CannedReply, World

NAME = f"ft:{BASE}:local::abcdefgh"
CHECKPOINT = f"ft:{BASE}:local::12345678:ckpt-step-10"


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


class Clients:
    """A client of each tenant, and what serving was asked."""

    def __init__(self) -> None:
        self.local: AsyncOpenAI
        self.acme: AsyncOpenAI
        self.other: AsyncOpenAI
        self.asked: list[tuple[str, str]] = []
        """Key of the manifest, tenant."""

    async def answer(self, path: str, body: bytes, manifest: Any, request_id: str, tenant: str) -> CannedReply:
        self.asked.append((manifest.key, tenant))
        message = {"role": "assistant", "content": "yes", "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        said = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        return CannedReply(200, {"content-type": "application/json"}, _once(json.dumps(said).encode()))


@pytest.fixture
async def clients(world: World) -> AsyncIterator[Clients]:
    found = Clients()
    world.complete = found.answer
    await world.tuned("ftjob-1", NAME, 20)
    await world.tuned("ftjob-1", CHECKPOINT, 10)
    async with AsyncExitStack() as stack:
        for number, tenant in enumerate(("local", "acme", "other")):
            http = httpx.AsyncClient(transport=httpx.ASGITransport(world.app))
            client = AsyncOpenAI(
                base_url="http://edge/v1",
                api_key=await world.key(tenant, number),
                http_client=http,
                max_retries=0,
                _strict_response_validation=True,
            )
            setattr(found, tenant, await stack.enter_async_context(client))
        yield found


async def say(client: AsyncOpenAI, model: str) -> str | None:
    chat = await client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
    return chat.choices[0].message.content


async def grant(client: AsyncOpenAI, model: str, *projects: str) -> list[Any]:
    return [
        each
        async for each in client.fine_tuning.checkpoints.permissions.create(
            fine_tuned_model_checkpoint=model, project_ids=list(projects)
        )
    ]


async def listed(client: AsyncOpenAI, model: str, **query: Any) -> list[Any]:
    return [each async for each in client.fine_tuning.checkpoints.permissions.list(model, **query)]


async def test_a_permitted_project_calls_the_model_until_it_is_revoked(world: World, clients: Clients) -> None:
    for name in (NAME, CHECKPOINT):
        with pytest.raises(openai.NotFoundError):
            await say(clients.acme, name)
        (permission,) = await grant(clients.local, name, "acme")
        assert (permission.object, permission.project_id) == ("checkpoint.permission", "acme")
        assert await say(clients.acme, name) == "yes"
        assert clients.asked[-1] == ("local/ftjob-1/manifest.json", "acme")
        assert name in [each.id async for each in clients.acme.models.list()]
        assert (await clients.acme.models.retrieve(name)).id == name
        with pytest.raises(openai.NotFoundError):
            await say(clients.other, name)
        assert name not in [each.id async for each in clients.other.models.list()]
        permissions = clients.local.fine_tuning.checkpoints.permissions
        gone = await permissions.delete(permission.id, fine_tuned_model_checkpoint=name)
        assert (gone.id, gone.deleted, gone.object) == (permission.id, True, "checkpoint.permission")
        with pytest.raises(openai.NotFoundError):
            await say(clients.acme, name)
        with pytest.raises(openai.NotFoundError):
            await permissions.delete(permission.id, fine_tuned_model_checkpoint=name)
        assert await listed(clients.local, name) == []
    assert await visible_model(world.documents, "acme", NAME) is None


async def test_what_was_revoked_can_be_permitted_again_under_another_id(clients: Clients) -> None:
    ids = []
    for _ in range(3):
        (permission,) = await grant(clients.local, NAME, "acme")
        assert (await grant(clients.local, NAME, "acme"))[0].id == permission.id
        ids.append(permission.id)
        permissions = clients.local.fine_tuning.checkpoints.permissions
        await permissions.delete(permission.id, fine_tuned_model_checkpoint=NAME)
    assert len(set(ids)) == 3
    await grant(clients.local, NAME, "acme")
    assert await say(clients.acme, NAME) == "yes"


async def test_permissions_are_listed_in_pages(clients: Clients) -> None:
    projects = [f"team-{number:02d}" for number in range(23)]
    assert [each.project_id for each in await grant(clients.local, NAME, *projects)] == projects
    newest = await listed(clients.local, NAME)
    assert sorted(each.project_id for each in newest) == projects
    assert [each.id for each in await listed(clients.local, NAME, order="ascending", limit=4)] == [
        each.id for each in reversed(newest)
    ]
    assert [each.project_id for each in await listed(clients.local, NAME, project_id="team-07")] == ["team-07"]
    assert await listed(clients.local, CHECKPOINT) == []


async def test_a_permission_lets_a_project_call_and_nothing_else(world: World, clients: Clients) -> None:
    await grant(clients.local, NAME, "acme")
    permissions = clients.acme.fine_tuning.checkpoints.permissions
    with pytest.raises(openai.NotFoundError):
        await grant(clients.acme, NAME, "other")
    with pytest.raises(openai.NotFoundError):
        await listed(clients.acme, NAME)
    (own,) = await listed(clients.local, NAME)
    with pytest.raises(openai.NotFoundError):
        await permissions.delete(own.id, fine_tuned_model_checkpoint=NAME)
    with pytest.raises(openai.PermissionDeniedError):
        await clients.acme.models.delete(NAME)
    async with world.client(clients.acme.api_key) as api:
        assert (await api.get(f"/v1/models/{NAME}/files")).status_code == 404
        job = {"model": NAME, "training_file": "file-1"}
        assert (await api.post("/v1/fine_tuning/jobs", json=job)).status_code in (400, 404)
        assert (await api.post("/v1/benchmarks", json={"model": NAME, "file": "file-1"})).status_code == 404
    await world.say(ModelDeleted(reason="requested"), NAME, "local")
    with pytest.raises(openai.NotFoundError):
        await say(clients.acme, NAME)


async def test_ones_own_model_of_a_name_comes_before_anothers(world: World, clients: Clients) -> None:
    await world.tuned("ftjob-2", NAME, 5, tenant="acme")
    await grant(clients.local, NAME, "acme", "other")
    await say(clients.acme, NAME)
    await say(clients.other, NAME)
    assert [key for key, _ in clients.asked] == ["acme/ftjob-2/manifest.json", "local/ftjob-1/manifest.json"]


@pytest.mark.parametrize("projects", [[], ["local"], ["public"], ["Not A Tenant"], ["a"] * 101, [5], "acme", None])
async def test_projects_that_can_be_none_are_refused(world: World, clients: Clients, projects: Any) -> None:
    async with world.client(clients.local.api_key) as api:
        path = f"/v1/fine_tuning/checkpoints/{NAME}/permissions"
        answer = await api.post(path, json={"project_ids": projects})
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["param"].startswith("project_ids")
        assert (await api.post(path.replace("abcd", "x"), json={"project_ids": ["acme"]})).status_code == 404
        base = f"/v1/fine_tuning/checkpoints/{BASE}/permissions"
        assert (await api.post(base, json={"project_ids": ["acme"]})).status_code == 404
