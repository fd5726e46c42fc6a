"""Azure's paths and Anyscale's objects over the one API, asked by the real clients."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, BadRequestError, NotFoundError

from contracts.events.jobs import JobCreated, JobFailed
from contracts.manifest import ManifestRef
from tests.functional.edge import BASE, ROWS, CannedReply, World
from tests.functional.test_edge_clients import answers, served
from tests.functional.test_edge_files import error
from tests.functional.test_edge_jobs import running

__all__ = ["served"]
VERSION = "2024-10-21"
SAID = [{"role": "user", "content": "hi"}]


@pytest.fixture
async def world() -> World:
    return World()


@pytest.fixture
def azure(served: dict[str, str]) -> dict[str, Any]:
    """The arguments of Azure's client."""
    endpoint = served["OPENAI_BASE_URL"].removesuffix("/v1")
    return {"azure_endpoint": endpoint, "api_key": served["OPENAI_API_KEY"], "api_version": VERSION, "max_retries": 0}


async def test_azures_client_tunes_and_chats_when_its_endpoint_is_changed(world: World, azure: dict[str, Any]) -> None:
    await asyncio.to_thread(_tune_and_chat, AzureOpenAI(**azure))


def _tune_and_chat(client: AzureOpenAI) -> None:
    file = client.files.create(file=("rows.jsonl", io.BytesIO(ROWS)), purpose="fine-tune")
    assert file.status == "pending"
    assert client.files.content(file.id).read() == ROWS
    job = client.fine_tuning.jobs.create(
        model=BASE, training_file=file.id, suffix="azure", extra_body={"trainingType": "GlobalStandard"}
    )
    assert (job.status, job.training_file) == ("pending", file.id)
    assert job.updated_at == job.created_at
    assert [each.id for each in client.fine_tuning.jobs.list(limit=1)] == [job.id]
    assert next(iter(client.fine_tuning.jobs.list_events(job.id))).object == "fine_tuning.job.event"
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    assert BASE in [each.id for each in client.models.list()]
    assert client.chat.completions.create(model=BASE, messages=SAID).choices[0].message.content == "red 3"
    assert client.completions.create(model=BASE, prompt="hi").choices[0].text == "red 3"
    with pytest.raises(NotFoundError, match="ft:none"):
        client.chat.completions.create(model="ft:none", messages=SAID)
    assert client.files.delete(file.id).deleted


async def test_azures_client_with_a_deployment_asks_that_model_whatever_it_says_and_the_rest_as_ever(
    world: World, azure: dict[str, Any]
) -> None:
    name = f"ft:{BASE}:local:a b:xyz"
    await world.tuned("ftjob-1", name, 10)
    async with AsyncAzureOpenAI(**azure, azure_deployment=name) as client:
        stream = await client.chat.completions.create(model="gpt-4o-mini", messages=SAID, stream=True)
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].delta.content for chunk in chunks if chunk.choices) == "red 3"
        assert chunks[0].model == name
        assert [each.id async for each in client.models.list()] == [BASE, name]
        with pytest.raises(BadRequestError, match="not a JSON object"):
            await client.post("/chat/completions", body=[], cast_to=object)
    async with AsyncAzureOpenAI(**azure, azure_deployment="none") as client:
        with pytest.raises(NotFoundError, match="`none`"):
            await client.chat.completions.create(model=BASE, messages=SAID)


async def test_azures_newer_path_is_openais_own_api(served: dict[str, str]) -> None:
    base_url = served["OPENAI_BASE_URL"].replace("/v1", "/openai/v1/")
    async with AsyncOpenAI(
        base_url=base_url, api_key=served["OPENAI_API_KEY"], default_query={"api-version": "preview"}
    ) as client:
        file = await client.files.create(file=("rows.jsonl", ROWS), purpose="fine-tune")
        assert file.status == "uploaded"


async def test_a_file_is_not_imported_from_an_address(served: dict[str, str]) -> None:
    address = served["OPENAI_BASE_URL"].replace("/v1", "/openai/files/import")
    async with httpx.AsyncClient(headers={"api-key": served["OPENAI_API_KEY"]}, trust_env=False) as client:
        refused = await client.post(address, json={"content_url": "http://169.254.169.254/"})
        assert error(refused)["code"] == "unsupported"
        assert (await client.get(address.replace("files/import", "nothing"))).status_code == 404


async def test_the_deployment_of_a_path_does_not_change_what_else_a_body_says(
    world: World, served: dict[str, str]
) -> None:
    seen: list[bytes] = []

    async def recorded(path: str, body: bytes, manifest: ManifestRef, request_id: str, tenant: str) -> CannedReply:
        seen.append(body)
        return await answers(path, body, manifest, request_id, tenant)

    world.complete = recorded
    body = {"messages": [{"role": "user", "content": "ä 🙂 \x01"}], "seed": 2**62, "temperature": 0.1, "logit_bias": {}}
    address = served["OPENAI_BASE_URL"].replace("/v1", f"/openai/deployments/{BASE}/chat/completions")
    async with httpx.AsyncClient(headers={"api-key": served["OPENAI_API_KEY"]}, trust_env=False) as client:
        assert (await client.post(address, json=body)).status_code == 200
    assert json.loads(seen[0]) == {**body, "model": BASE}
    assert list(json.loads(seen[0])) == [*body, "model"]


# --- Anyscale


@pytest.fixture
async def anyscale(world: World, served: dict[str, str]) -> AsyncIterator[AsyncOpenAI]:
    headers = {"temper-dialect": "anyscale"}
    async with AsyncOpenAI(
        base_url=served["OPENAI_BASE_URL"], api_key=served["OPENAI_API_KEY"], default_headers=headers, max_retries=0
    ) as client:
        yield client


async def test_anyscales_users_see_its_ids_times_and_states(world: World, anyscale: AsyncOpenAI) -> None:
    file = await anyscale.files.create(file=("rows.jsonl", ROWS), purpose="fine-tune")
    job = await anyscale.fine_tuning.jobs.create(
        model=BASE,
        training_file=file.id,
        hyperparameters={"n_epochs": 2, "context_length": 64},
    )
    assert job.id.startswith("eftjob_")
    assert str(job.created_at).startswith("20")
    assert str(job.created_at).endswith("+00:00")
    assert (job.status, job.hyperparameters, job.trained_tokens, job.error) == ("pending", None, None, None)
    assert (await anyscale.fine_tuning.jobs.retrieve(job.id)).id == job.id
    more = [await anyscale.fine_tuning.jobs.create(model=BASE, training_file=file.id) for _ in range(2)]
    listed = [each.id async for each in anyscale.fine_tuning.jobs.list(limit=1)]
    assert listed == [more[1].id, more[0].id, job.id]
    await anyscale.fine_tuning.jobs.cancel(more[0].id)
    own = "ftjob-" + job.id.removeprefix("eftjob_")
    await world.say(JobFailed(code="x", message="It broke."), own, "local", epoch=1, attempt=1)
    failed = await anyscale.fine_tuning.jobs.retrieve(job.id)
    assert (failed.status, failed.error) == ("failed", "It broke.")
    with pytest.raises(NotFoundError, match="ftjob-none"):
        await anyscale.fine_tuning.jobs.retrieve("eftjob_none")


async def test_a_key_may_speak_the_dialect_so_that_only_the_address_changes(world: World) -> None:
    await world.base()
    key = await world.key("local", dialect="anyscale")
    async with world.client(key) as api:
        await world.say(JobCreated(model=BASE, training_file="file-1"), "ftjob-1", "local")
        await running(world, "ftjob-1")
        shown = (await api.get("/v1/fine_tuning/jobs/eftjob_1")).json()
        assert (shown["id"], shown["result_files"][0][:5]) == ("eftjob_1", "file-")
        plain = (await api.get("/v1/fine_tuning/jobs/ftjob-1", headers={"temper-dialect": "openai"})).json()
        assert plain["result_files"] == shown["result_files"][::-1]
        page = (await api.get("/v1/fine_tuning/jobs")).json()
        assert page["last_id"] == page["data"][-1]["id"] == "eftjob_1"
        events = (await api.get("/v1/fine_tuning/jobs/eftjob_1/events")).json()
        assert events["data"][0]["object"] == "fine_tuning.job.event"
        refused = await api.get("/v1/fine_tuning/jobs", headers={"temper-dialect": "klingon"})
        assert "'openai', 'anyscale'" in error(refused)["message"]
